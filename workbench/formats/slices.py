"""Each record's own slice of bytes in a file that holds many."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from workbench.formats.values import lenient

if TYPE_CHECKING:
    from collections.abc import Iterator

_SPACE = re.compile(r"[ \t\r\n]*")


class Slice(NamedTuple):
    """A record's bytes and the line of the file they begin on."""

    data: bytes
    line: int


class _WithSimulations(msgspec.Struct):
    simulations: list[msgspec.Raw]


def of_list(data: bytes, *, where: str | None = None) -> list[Slice]:
    """Return the elements of a JSON array."""
    try:
        raws = msgspec.json.decode(data, type=list[msgspec.Raw])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _scanned(data, key=None, where=where)
    return list(_placed(data, raws))


def of_simulations(data: bytes, *, where: str | None = None) -> list[Slice]:
    """Return the elements of the array under the key ``simulations`` of a JSON object."""
    try:
        raws = msgspec.json.decode(data, type=_WithSimulations).simulations
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _scanned(data, key="simulations", where=where)
    return list(_placed(data, raws, start=_start_of(data, b'"simulations"')))


def _start_of(data: bytes, key: bytes) -> int:
    # Only line numbers hang on this: a text that repeats the key earlier moves the search, no more.
    return max(data.find(key), 0)


def _placed(data: bytes, raws: list[msgspec.Raw], *, start: int = 0) -> Iterator[Slice]:
    line, counted, at = 1, 0, start
    for raw in raws:
        piece = bytes(raw)
        at = data.find(piece, at)
        line, counted = line + data.count(b"\n", counted, at), at
        yield Slice(piece, line)
        at += len(piece)


def _scanned(data: bytes, *, key: str | None, where: str | None) -> list[Slice]:
    """Cut with Python's reader, which takes what the strict one refuses, or say what broke."""
    lenient(data, where=where)
    text = data.decode("utf-8")
    at = _skip(text, 0)
    if key is not None:
        at = _value_of(text, at, key)
    return [
        Slice(text[start:end].encode(), text.count("\n", 0, start) + 1)
        for start, end in _elements(text, at)
    ]


def _value_of(text: str, at: int, key: str) -> int:
    """Return where the value of a key of the object at this place begins."""
    read = json.JSONDecoder().raw_decode
    at = _skip(text, at + 1)
    while True:
        name, at = read(text, at)
        at = _skip(text, _skip(text, at) + 1)
        if name == key:
            return at
        _, at = read(text, at)
        at = _skip(text, _skip(text, at) + 1)


def _elements(text: str, at: int) -> Iterator[tuple[int, int]]:
    read = json.JSONDecoder().raw_decode
    at = _skip(text, at + 1)
    while text[at] != "]":
        _, end = read(text, at)
        yield at, end
        at = _skip(text, end)
        at = _skip(text, at + 1) if text[at] == "," else at


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at
