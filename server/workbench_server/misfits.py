"""Why JSON does not fit a struct, taken apart: where, what was expected, what was found. Pure."""

from __future__ import annotations

import re
from typing import Any

import msgspec.inspect

_PLACE = re.compile(r"(?P<said>.*) - at `\$\.?(?P<place>[^`]*)`", re.DOTALL)
_SIDES = re.compile(r"Expected (?P<expected>.+), got (?P<found>.+)", re.DOTALL)
_NO_VALUE = re.compile(r"Invalid enum value (?P<found>.+)", re.DOTALL)
_NO_FIELD = re.compile(r"Object contains unknown field `(?P<found>.+)`", re.DOTALL)
_SHOWN = 80


def sides_of(error: Exception, kind: Any) -> dict[str, Any]:
    """Return ``where``, ``expected`` and ``found`` of what msgspec says of a body of this type.

    Examples
    --------
    >>> class Size(msgspec.Struct):
    ...     width: int
    >>> try:
    ...     msgspec.json.decode(b'{"width": "x"}', type=Size)
    ... except msgspec.ValidationError as error:
    ...     sides_of(error, Size)
    {'where': 'width', 'expected': 'int', 'found': 'str'}
    """
    text, place = str(error), None
    if at := _PLACE.fullmatch(text):
        text, place = at["said"], at["place"] or None
    if sides := _SIDES.fullmatch(text):
        expected: Any = sides["expected"].replace("`", "")
        return {"where": place, "expected": expected, "found": sides["found"].replace("`", "")}
    fields = _fields(kind)
    if value := _NO_VALUE.fullmatch(text):
        return {
            "where": place,
            "expected": _values(fields.get(place or "")),
            "found": value["found"][:_SHOWN],
        }
    if field := _NO_FIELD.fullmatch(text):
        expected = ", ".join(fields) if place is None and fields else None
        return {"where": place, "expected": expected, "found": f"a field {field['found'][:_SHOWN]}"}
    return {"where": place, "expected": None, "found": text}


def _fields(kind: Any) -> dict[str, msgspec.inspect.Type]:
    known = msgspec.inspect.type_info(kind)
    if not isinstance(known, msgspec.inspect.StructType):
        return {}
    return {field.encode_name: field.type for field in known.fields}


def _values(kind: msgspec.inspect.Type | None) -> str | None:
    """Return the words that a field takes."""
    choices = kind.types if isinstance(kind, msgspec.inspect.UnionType) else (kind,)
    literals = [one for one in choices if isinstance(one, msgspec.inspect.LiteralType)]
    return ", ".join(str(value) for one in literals for value in one.values) or None
