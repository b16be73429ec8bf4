"""Exceptions as they are stored, and raised again as their own class where it can be imported."""

from __future__ import annotations

from typing import Any

from workbench.capture import values
from workbench.hashing import type_name


class RecordedError(Exception):
    """A recorded exception whose own class could not be imported."""


def to_record(error: BaseException, freeze: values.Freezer) -> dict[str, Any]:
    """Return ``{class, message, args}`` of an exception."""
    return {
        "class": type_name(type(error)),
        "message": str(freeze(_text(error))),
        "args": [freeze(item) for item in error.args],
    }


def from_record(record: dict[str, Any]) -> BaseException:
    """Return an exception of the recorded class, with the recorded arguments and text."""
    kind = values._found(str(record["class"]))  # noqa: SLF001 - the one importer of recorded names
    arguments = [values.thaw(item) for item in record.get("args") or []]
    if not (isinstance(kind, type) and issubclass(kind, BaseException)):
        return RecordedError(f"{record['class']}: {record['message']}")
    try:
        built = kind(*arguments)
        if _text(built) == record["message"]:
            return built
    except Exception:  # noqa: BLE001, S110 - a stranger's constructor; built without it below
        pass
    built = kind.__new__(kind)
    built.args = tuple(arguments) or (record["message"],)
    return built


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as unprintable:  # noqa: BLE001 - a stranger's __str__ must not stop a recording
        return f"<str raised {type(unprintable).__name__}>"
