"""Sections *outputs* and *cost*: how a run came out, what it took."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from workbench.diff import align
from workbench.diff.deltas import Delta, alike, as_text, change_of, part, white_space_only

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from workbench.diff.align import Pair
    from workbench.diff.deltas import Found
    from workbench.diff.sides import Side

OUTCOMES = ("outcome", "passed", "reward", "score", "security", "utility")
"""Labels that say how a run came out, as against what it was."""


def outputs(a: Side, b: Side, pairs: Sequence[Pair], found: Found) -> Iterator[Delta]:
    """Compare what the assistant said, the run's output, status and outcome labels."""
    del pairs, found
    yield from _answers(a, b)
    for pointer, one, other in _ends(a, b):
        if one != other:
            yield Delta(
                section="outputs",
                pointer=pointer,
                change=change_of(one, other),
                name=pointer.rpartition("/")[2],
                a=one,
                b=other,
                seq_a=a.ended_seq,
                seq_b=b.ended_seq,
                confidence=1.0,
            )


def _answers(a: Side, b: Side) -> Iterator[Delta]:
    left, right = _spoken(a), _spoken(b)
    rounds = (lambda row: row["text"], lambda row: row["last"], lambda _row: 0)
    for one, other in align.paired(left, right, rounds=rounds):
        if one is not None and other is not None and one["text"] == other["text"]:
            continue
        row = one or other or {}
        texts: tuple[str | None, str | None] = (part(one, "text"), part(other, "text"))
        yield Delta(
            section="outputs",
            pointer=f"/messages/{row['index']}/content",
            change=change_of(one, other),
            name="final answer" if row["last"] else "assistant",
            a=texts[0],
            b=texts[1],
            seq_a=part(one, "seq"),
            seq_b=part(other, "seq"),
            message_a=part(one, "index"),
            message_b=part(other, "index"),
            confidence=1.0 if row["last"] else alike(*texts),
            note=white_space_only(*texts),
        )


def _spoken(side: Side) -> list[dict[str, Any]]:
    """Return the assistant's messages that have a text; the last message of the run is marked."""
    last = len(side.rows) - 1
    return [
        {**row, "last": at == last}
        for at, row in enumerate(side.rows)
        if row["role"] == "assistant" and row["text"]
    ]


def _ends(a: Side, b: Side) -> Iterator[tuple[str, str | None, str | None]]:
    yield "/status", a.status, b.status
    if not _is_last_message(a) or not _is_last_message(b):
        yield "/output", as_text(a.output), as_text(b.output)
    yield "/exception", _raised(a), _raised(b)
    for name in (n for n in OUTCOMES if n in a.labels and n in b.labels):
        yield f"/labels/{name}", _label(a, name), _label(b, name)


def _is_last_message(side: Side) -> bool:
    """Say whether the run's output is but its last message, which is compared already."""
    return side.output is None or bool(side.rows and side.output == side.rows[-1]["text"])


def _raised(side: Side) -> str | None:
    return None if side.exception is None else as_text(side.exception)


def _label(side: Side, name: str) -> str | None:
    return as_text(side.labels[name])


def cost(a: Side, b: Side, pairs: Sequence[Pair], found: Found) -> Iterator[Delta]:
    """Compare what the runs cost and took; an unknown figure is named, never taken as 0."""
    del pairs
    money, took = (cost_of(a), cost_of(b)), (a.duration_ms, b.duration_ms)
    unknown = [_unknown("cost", *money), _unknown("duration", *took)]
    said = "; ".join(text for text in unknown if text)
    if all(unknown):
        found.missing["cost"] = said
    elif said:
        found.remarks["cost"] = said
    for pointer, (one, other) in (("/cost_usd", money), ("/duration_ms", took)):
        if one is not None and other is not None and one != other:
            yield Delta(
                section="cost",
                pointer=pointer,
                change="changed",
                name=pointer[1:],
                a=as_text(one),
                b=as_text(other),
            )


def _unknown(what: str, a: float | None, b: float | None) -> str | None:
    whose = " and ".join(name for name, value in (("A", a), ("B", b)) if value is None)
    return f"{what} unknown in {whose}" if whose else None


def cost_of(side: Side) -> float | None:
    """Return a run's cost in US dollars; null where any part of it is unknown."""
    parts = [call.cost_usd for call in side.of("model")]
    parts += [call.cost_usd for call in side.of("human") if call.tokens != (None, None)]
    if any(part is None for part in parts):
        return None
    return math.fsum(part or 0.0 for part in parts)
