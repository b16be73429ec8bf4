"""What a delta is, and how the sections write one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import polars as pl
from rapidfuzz import fuzz

from workbench.hashing import dumps

if TYPE_CHECKING:
    from workbench.diff.align import Pair

Section = Literal["prompts", "retrieval", "tools", "model", "outputs", "cost"]
SECTIONS: tuple[Section, ...] = ("prompts", "retrieval", "tools", "model", "outputs", "cost")
Change = Literal["changed", "only_a", "only_b", "moved"]

DELTAS: dict[str, pl.DataType | type[pl.DataType]] = {
    "section": pl.String,
    "pointer": pl.String,
    "change": pl.String,
    "name": pl.String,
    "a": pl.String,
    "b": pl.String,
    "seq_a": pl.Int64,
    "seq_b": pl.Int64,
    "message_a": pl.Int64,
    "message_b": pl.Int64,
    "confidence": pl.Float64,
    "attribution": pl.String,
    "note": pl.String,
}
"""One row per delta.

``a`` and ``b`` are texts, or canonical JSON of what is no text. ``pointer`` says where inside the
call, message or run. ``confidence`` from 0 to 1 says how sure it is that the two sides belong
together: 1 where the request, the outcome or the place is the same, else how alike they are.
``attribution`` is ``observed`` where the first divergence lies upstream of another outcome.
"""


@dataclass(slots=True, kw_only=True)
class Delta:
    """One difference; the fields are the columns `DELTAS`."""

    section: Section
    pointer: str
    change: Change
    name: str | None = None
    a: str | None = None
    b: str | None = None
    seq_a: int | None = None
    seq_b: int | None = None
    message_a: int | None = None
    message_b: int | None = None
    confidence: float = 1.0
    attribution: str | None = None
    note: str | None = None


@dataclass(slots=True, kw_only=True)
class Found:
    """The deltas, why a section is missing, and remarks on parts of one that are."""

    deltas: list[Delta] = field(default_factory=list)
    missing: dict[Section, str] = field(default_factory=dict)
    remarks: dict[Section, str] = field(default_factory=dict)


def between(
    pair: Pair,
    section: Section,
    pointer: str,
    *,
    a: Any,
    b: Any,
    change: Change = "changed",
    note: str | None = None,
) -> Delta:
    """Return a delta inside a pair of calls."""
    return Delta(
        section=section,
        pointer=pointer,
        change=change,
        name=_name(pair),
        a=as_text(a),
        b=as_text(b),
        seq_a=pair.a.seq if pair.a else None,
        seq_b=pair.b.seq if pair.b else None,
        message_a=pair.a.index if pair.a else None,
        message_b=pair.b.index if pair.b else None,
        confidence=_confidence(pair),
        note=note,
    )


def alone(pair: Pair, section: Section, said: Any) -> Delta:
    """Return the delta of a call that only one run made."""
    in_a = pair.b is None
    change: Change = "only_a" if in_a else "only_b"
    return between(
        pair, section, "", a=said if in_a else None, b=None if in_a else said, change=change
    )


def _name(pair: Pair) -> str | None:
    call = pair.a or pair.b
    return call.name if call else None


def _confidence(pair: Pair) -> float:
    if pair.match != "name" or pair.a is None or pair.b is None:
        return 1.0
    return alike(as_text(pair.a.request), as_text(pair.b.request))


def alike(a: str | None, b: str | None) -> float:
    """Return how alike two texts are, from 0 to 1; 1 where one of them is not there."""
    if a is None or b is None:
        return 1.0
    return round(fuzz.ratio(a, b) / 100, 2)


def change_of(one: Any, other: Any) -> Change:
    """Say which side is there."""
    if one is None:
        return "only_b"
    return "only_a" if other is None else "changed"


def as_text(value: Any) -> str | None:
    """Return texts and null as they are, all else as canonical JSON."""
    return value if value is None or isinstance(value, str) else dumps(value).decode()


def part(row: dict[str, Any] | None, name: str) -> Any:
    """Return a field of a row that may not be there."""
    return None if row is None else row.get(name)


def white_space_only(a: str | None, b: str | None) -> str | None:
    """Return the note for texts that differ by nothing else."""
    if a is None or b is None or a == b or a.split() != b.split():
        return None
    return "white space only"
