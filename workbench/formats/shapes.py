"""Which format a file looks like, from its first members."""

from __future__ import annotations

from typing import Any

from workbench.errors import UnknownFormat

_OBJECTS = (
    ("agentdojo", {"suite_name", "user_task_id", "messages"}),
    ("tau2", {"simulations", "info"}),
    ("workbench", {"format", "version", "files"}),
    ("langfuse", {"trace", "observations"}),
    ("inspect", {"eval", "plan"}),
    ("swe-agent", {"trajectory", "history"}),
    ("otlp", {"resourceSpans"}),
)
_NO_JSON = ((b"PK\x03\x04", "a zip archive (inspect?)"), (b"PAR1", "Parquet (workbench?)"))


def looks_like(value: Any) -> str | None:
    """Return the format that a decoded file has the shape of, or null."""
    if isinstance(value, list):
        if all(isinstance(item, dict) and "traj" in item for item in value):
            return "tau-bench"
        return "a list of messages" if value and _is_message(value[0]) else None
    if not isinstance(value, dict):
        return None
    for name, keys in _OBJECTS:
        if keys <= value.keys():
            return name
    if "messages" in value:
        return "an object with messages"
    return None


def _is_message(value: Any) -> bool:
    return isinstance(value, dict) and "role" in value


def looks_like_bytes(data: bytes) -> str | None:
    """Return what bytes that are no JSON look like, or null."""
    for magic, name in _NO_JSON:
        if data.startswith(magic):
            return name
    return None


def refuse(*, expected: str, found: str | None, where: str | None) -> UnknownFormat:
    """Return the error for a file of another format."""
    hint = f"Try: workbench import {found} PATH" if found in IMPORTABLE else None
    return UnknownFormat(
        f"the file is not of the format {expected}",
        where=where,
        expected=expected,
        found=f"something that looks like {found}" if found else "an unknown shape",
        hint=hint,
        looks_like=found,
        line=1,
    )


IMPORTABLE = ("agentdojo", "tau-bench", "tau2", "workbench")
