"""Lanes in the order in which they were spawned, depth first."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workbench.schema import Event

_NUMBERED = re.compile(r"(?P<base>.*?)\[?(?P<number>\d+)\]?")
_Segment = tuple[str, int]


def in_spawn_order(started: Sequence[Event]) -> list[Event]:
    """Sort calls by lane, then by ordinal.

    Parameters
    ----------
    started
        The `call_started` events of one run in order of ``seq``.

    Returns
    -------
    list
        A lane stands before the lanes inside it; lanes that differ only in their number stand in
        the order of that number, others in the order in which they first called.
    """
    first = _first_seen(started)
    return sorted(started, key=lambda e: (_place(_segments(e.lane), first), e.ordinal or 0))


def _segments(lane: str | None) -> tuple[_Segment, ...]:
    return tuple(_segment(part) for part in (lane or "root").split("/"))


def _segment(part: str) -> _Segment:
    found = _NUMBERED.fullmatch(part)
    return (found["base"], int(found["number"])) if found else (part, -1)


def _first_seen(started: Sequence[Event]) -> dict[tuple[object, ...], int]:
    """Return for each (parent path, name without number) when it first called."""
    first: dict[tuple[object, ...], int] = {}
    for at, event in enumerate(started):
        path = _segments(event.lane)
        for depth, (base, _) in enumerate(path):
            first.setdefault((*path[:depth], base), at)
    return first


def _place(
    path: tuple[_Segment, ...], first: dict[tuple[object, ...], int]
) -> tuple[tuple[int, int], ...]:
    return tuple((first[*path[:depth], base], number) for depth, (base, number) in enumerate(path))
