"""Two texts line by line, side by side, with the words marked that differ."""

from __future__ import annotations

import re
from html import escape
from typing import TYPE_CHECKING, NamedTuple

from rapidfuzz.distance import Indel

from workbench.diff.deltas import alike

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_WORDS = re.compile(r"\s+|\w+|[^\w\s]")
_CONTEXT = 1
_ENOUGH = 0.5


class Line(NamedTuple):
    """A row: the number and text of either side, null where that side has no such line."""

    equal: bool
    at_a: int | None
    a: str | None
    at_b: int | None
    b: str | None


class Folded(NamedTuple):
    """A stretch of equal lines that is not shown."""

    lines: int


def compared(a: str, b: str) -> list[Line | Folded]:
    """Return the rows, equal stretches folded to one line of context at their ends."""
    return list(_folded(list(_rows(a.splitlines(), b.splitlines()))))


def _rows(a: Sequence[str], b: Sequence[str]) -> Iterator[Line]:
    gone: list[int] = []
    new: list[int] = []
    for step in Indel.opcodes(a, b):
        if step.tag == "delete":
            gone += range(step.src_start, step.src_end)
        elif step.tag == "insert":
            new += range(step.dest_start, step.dest_end)
        else:
            yield from _replaced(a, b, gone, new)
            gone, new = [], []
            for i in range(step.src_end - step.src_start):
                at_a, at_b = step.src_start + i, step.dest_start + i
                yield Line(equal=True, at_a=at_a + 1, a=a[at_a], at_b=at_b + 1, b=b[at_b])
    yield from _replaced(a, b, gone, new)


def _replaced(
    a: Sequence[str], b: Sequence[str], gone: Sequence[int], new: Sequence[int]
) -> Iterator[Line]:
    for i in range(max(len(gone), len(new))):
        at_a = gone[i] if i < len(gone) else None
        at_b = new[i] if i < len(new) else None
        yield Line(
            equal=False,
            at_a=None if at_a is None else at_a + 1,
            a=None if at_a is None else a[at_a],
            at_b=None if at_b is None else at_b + 1,
            b=None if at_b is None else b[at_b],
        )


def _folded(rows: list[Line]) -> Iterator[Line | Folded]:
    near = {
        j
        for i, row in enumerate(rows)
        if not row.equal
        for j in range(i - _CONTEXT, i + _CONTEXT + 1)
    }
    hidden = 0
    for i, row in enumerate(rows):
        if i not in near:
            hidden += 1
            continue
        if hidden:
            yield Folded(hidden)
            hidden = 0
        yield row
    if hidden:
        yield Folded(hidden)


def marked(a: str, b: str) -> tuple[str, str]:
    """Return two texts as HTML, the words that differ inside ``del`` and ``ins``.

    Texts that have little in common are left unmarked: everything would be.
    """
    if alike(a, b) < _ENOUGH:
        return escape(a), escape(b)
    left, right = _WORDS.findall(a), _WORDS.findall(b)
    out_a, out_b = [], []
    for step in Indel.opcodes(left, right):
        said_a = escape("".join(left[step.src_start : step.src_end]))
        said_b = escape("".join(right[step.dest_start : step.dest_end]))
        if step.tag == "equal":
            out_a.append(said_a)
            out_b.append(said_b)
        elif step.tag == "delete":
            out_a.append(f"<del>{said_a}</del>")
        else:
            out_b.append(f"<ins>{said_b}</ins>")
    return "".join(out_a), "".join(out_b)
