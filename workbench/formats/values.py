"""JSON values as the sources write them: bytes, arguments, text, times."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

import msgspec

from workbench.errors import MalformedFile
from workbench.hashing import freeze

_DIGITS = bytes(ord("0") if byte in b"0123456789" else ord(" ") for byte in range(256))
_LONG = b"0" * 19

_NOT_BRACKETS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[^\[\]{}"]+', re.DOTALL)
_DEEPEST = 60


def decode(data: bytes | msgspec.Raw, *, where: str | None = None, line: int = 1) -> Any:
    """Read JSON into values that canonical JSON can hold.

    Integers of any size, NaN and the infinities are kept in their tagged form; half of a surrogate
    pair, which no text may hold, as its escape.

    Parameters
    ----------
    data
        One JSON document.
    where
        The file's name, for the error.
    line
        The line of the file on which the data begins.

    Raises
    ------
    MalformedFile
        The bytes are no JSON; ``line`` is in the error's facts.
    """
    raw = bytes(data)
    try:
        return _decoded(raw, where=where, line=line)
    except RecursionError as error:
        raise _too_deep(where, line) from error


def _decoded(raw: bytes, *, where: str | None, line: int) -> Any:
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return freeze(_whole(lenient(raw, where=where, line=line)))[0]
    return freeze(value)[0] if _is_rare(raw) else value


def _is_rare(raw: bytes) -> bool:
    """Say whether canonical JSON may tag something: numbers of 19 digits, keys like our tag."""
    if b'"$type"' in raw:
        return True
    # an expression would take ten times as long
    digits = raw.translate(_DIGITS) + b" "
    at = digits.find(_LONG)
    while at >= 0:
        if raw[max(0, at - 64) : at].rstrip(b" \t\r\n-")[-1:] in (b"", b"[", b":", b","):
            return True  # else the digits stand within a text
        at = digits.find(_LONG, digits.find(b" ", at))
    return False


def _too_deep(where: str | None, line: int) -> MalformedFile:
    return MalformedFile("the JSON is nested too deeply", where=where, line=line)


def lenient(raw: bytes, *, where: str | None = None, line: int = 1) -> Any:
    """Read JSON the way Python's own reader does, or say where it is broken."""
    try:
        return json.loads(raw.decode("utf-8"))
    except json.JSONDecodeError as error:
        raise MalformedFile(
            "the JSON is broken", where=where, found=error.msg, line=line + error.lineno - 1
        ) from error
    except UnicodeDecodeError as error:
        broken = line + raw.count(b"\n", 0, error.start)
        raise MalformedFile("the file is not UTF-8", where=where, line=broken) from error
    except RecursionError as error:
        raise _too_deep(where, line) from error


def _whole(value: Any) -> Any:
    """Write half surrogates as escapes."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, list):
        return [_whole(item) for item in value]
    if isinstance(value, dict):
        return {_whole(key): _whole(item) for key, item in value.items()}
    return value


def arguments_of(value: Any) -> Any:
    """Return a tool call's arguments: a JSON text is parsed where it parses, all else stays.

    Examples
    --------
    >>> arguments_of('{"n": 1.0}'), arguments_of('{"n":'), arguments_of({"n": 1})
    ({'n': 1.0}, '{"n":', {'n': 1})
    """
    if not isinstance(value, str):
        return value
    try:
        return decode(value.encode())
    except MalformedFile:
        return value


def is_too_deep(raw: bytes) -> bool:
    """Say whether JSON is nested deeper than servers take, the envelope around it included."""
    if raw.count(b"{") + raw.count(b"[") <= _DEEPEST:
        return False
    depth = deepest = 0
    for bracket in _NOT_BRACKETS.sub(b"", raw):
        depth += 1 if bracket in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest > _DEEPEST


def time_of(value: Any) -> datetime | None:
    """Return an ISO time as UTC, a time without zone taken as UTC; null where it is none."""
    if not isinstance(value, str):
        return None
    try:
        read = datetime.fromisoformat(value)
    except ValueError:
        return None
    return read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)
