"""Parts that the readers of foreign records share: fields of the right type, or a clear error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workbench.errors import MalformedFile
from workbench.formats.trace import ROLES, Call, Message

if TYPE_CHECKING:
    from collections.abc import Iterator

Label = str | int | float | bool
_LONGEST_NAME = 2_000


def objects(value: Any, *, name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Check that a list holds objects, and number them."""
    if not isinstance(value, list):
        raise MalformedFile(f"{name} is not a list", found=type(value).__name__)
    for index, item in enumerate(value):
        if not isinstance(item, dict):
            raise MalformedFile(f"{name}[{index}] is not an object", found=type(item).__name__)
        yield index, item


def message(index: int, said: dict[str, Any]) -> Message:
    """Start a message from what all formats share: role and content."""
    role, content = said.get("role"), said.get("content")
    if role not in ROLES:
        raise MalformedFile(f"message {index} has no known role", expected=ROLES, found=repr(role))
    if not (content is None or isinstance(content, (str, list, dict))):
        raise MalformedFile(f"message {index} has no text", found=type(content).__name__)
    return Message(index=index, role=role, content=content)


def call(said: dict[str, Any], *, name: str, arguments: str, place: str) -> Call:
    """Read one tool call whose name and arguments stand under these keys."""
    called = said.get(name)
    if not isinstance(called, str):
        raise MalformedFile(f"{place} has no name", found=repr(called))
    if "\0" in called or len(called) > _LONGEST_NAME:
        raise MalformedFile(f"{place} has a name that cannot be stored", found=repr(called[:80]))
    return Call(name=called, arguments=said.get(arguments), id=text_or_none(said.get("id")))


def text_or_none(value: Any) -> str | None:
    """Return a text that is not empty; an id of another type as its text."""
    if value is None or value == "":
        return None
    return value if isinstance(value, str) else str(value)


def number(value: Any) -> float | None:
    """Return a number as it is; null for anything else, a truth value included."""
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def milliseconds(seconds: Any) -> float | None:
    """Return seconds as milliseconds, or null where the source has none."""
    value = number(seconds)
    return None if value is None or value < 0 else value * 1000


def labels(**values: Any) -> dict[str, Label | None]:
    """Keep the labels that have a plain value."""
    return {k: v for k, v in values.items() if isinstance(v, (str, int, float, bool))}


def rest(said: dict[str, Any], known: frozenset[str]) -> dict[str, Any] | None:
    """Return what the source says beside the known keys, null and empty values left out."""
    found = {k: v for k, v in said.items() if k not in known and v not in (None, "", [], {})}
    return found or None
