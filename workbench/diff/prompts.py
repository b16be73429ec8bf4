"""Section *prompts*: what the system and the user said, and what only the models were shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workbench.diff import align
from workbench.diff.deltas import Delta, alike, change_of, part, white_space_only
from workbench.schema import message_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from workbench.diff.align import Pair
    from workbench.diff.deltas import Found
    from workbench.diff.sides import Side

_ROLES = ("system", "developer", "user")


def prompts(a: Side, b: Side, pairs: Sequence[Pair], found: Found) -> Iterator[Delta]:
    """Pair system and user messages by their text, then by role, in order."""
    del pairs
    left, right = _said(a), _said(b)
    if not left and not right:
        found.missing["prompts"] = "no system or user messages"
    rounds = (lambda row: (row["role"], row["text"]), lambda row: row["role"])
    for one, other in align.paired(left, right, rounds=rounds):
        if one is None or other is None or one["text"] != other["text"]:
            yield _delta(one, other)


def _said(side: Side) -> list[dict[str, Any]]:
    rows = [row for row in side.rows if row["role"] in _ROLES]
    known = {(row["role"], row["text"]) for row in rows}
    shown: list[dict[str, Any]] = []
    seen: set[str] = set()
    for call in side.of("model"):
        for at, digest in enumerate(call.request.get("messages") or []):
            if digest in seen:
                continue
            seen.add(digest)
            body = side.bodies.get(digest) or {}
            said = (body.get("role"), message_text(body.get("content")))
            if said[0] in _ROLES and said not in known:
                known.add(said)
                row = {"role": said[0], "text": said[1], "seq": call.seq, "tool_calls": []}
                shown.append(row | {"pointer": f"/request/messages/{at}/content"})
    return rows + shown


def _delta(one: dict[str, Any] | None, other: dict[str, Any] | None) -> Delta:
    row = one or other or {}
    a, b = part(one, "text"), part(other, "text")
    return Delta(
        section="prompts",
        pointer=row.get("pointer") or f"/messages/{row['index']}/content",
        change=change_of(one, other),
        name=row["role"],
        a=a,
        b=b,
        seq_a=part(one, "seq"),
        seq_b=part(other, "seq"),
        message_a=part(one, "index"),
        message_b=part(other, "index"),
        confidence=alike(a, b),
        note=white_space_only(a, b),
    )
