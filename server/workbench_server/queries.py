"""Named queries out of the ``.sql`` files beside this module."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


@cache
def queries(file: str) -> dict[str, bytes]:
    """Return name → SQL of ``sql/<file>.sql``; each query begins with a line ``-- name: …``."""
    text = (resources.files("workbench_server") / "sql" / f"{file}.sql").read_text("utf-8")
    _, *parts = _NAME.split(text)
    return {name: sql.strip().encode() for name, sql in _pairs(parts)}


def _pairs(parts: list[str]) -> zip[tuple[str, str]]:
    return zip(parts[::2], parts[1::2], strict=True)
