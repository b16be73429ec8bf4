"""Where a page ends: an opaque text that names its query, and is refused by every other."""

from __future__ import annotations

import base64
import binascii
import hashlib
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec

from workbench.errors import UsageError
from workbench.hashing import dumps

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_HEX_DIGITS = 16


def mark_of(listing: str, wanted: Mapping[str, Any]) -> str:
    """Return what tells one query from another: what is listed, its filters and its order."""
    said = msgspec.to_builtins([listing, dict(wanted)])
    return hashlib.sha256(dumps(said)).hexdigest()[:_HEX_DIGITS]


def write_cursor(mark: str, place: Sequence[Any]) -> str:
    """Return the cursor behind a row; `place` are the values that the query is ordered by."""
    return base64.urlsafe_b64encode(msgspec.json.encode([mark, *place])).decode().rstrip("=")


def read_cursor(cursor: str, mark: str, *, kinds: Sequence[type]) -> list[Any]:
    """Return the place that a cursor of this very query names."""
    found, *place = _decoded(cursor)
    if found != mark:
        raise UsageError(
            "the cursor belongs to another query",
            where="cursor",
            hint="Keep filters and sort as they were, or begin again without a cursor.",
        )
    if len(place) != len(kinds):
        raise _not_ours(cursor)
    return [_value(value, kind, cursor) for value, kind in zip(place, kinds, strict=True)]


def _decoded(cursor: str) -> list[Any]:
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        raw = base64.b64decode(padded, altchars=b"-_", validate=True)
        return msgspec.json.decode(raw, type=list[str | int | float | None]) or [None]
    except (ValueError, binascii.Error, msgspec.MsgspecError) as error:
        raise _not_ours(cursor) from error


def _value(value: Any, kind: type, cursor: str) -> Any:
    """Return a value in the type of its column; a forged one is refused before it is looked up."""
    try:
        return None if value is None else msgspec.convert(value, kind)
    except msgspec.MsgspecError as error:
        raise _not_ours(cursor) from error


def _not_ours(cursor: str) -> UsageError:
    return UsageError(
        "the cursor is none of ours",
        where="cursor",
        expected="the next_cursor of the page before",
        found=cursor[:80],
    )


TIME, ID, TEXT, NUMBER, COUNT = datetime, UUID, str, float, int
