"""What a fork will do with each call of its source, before anything runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workbench.recording import RecordedCall, Recording
    from workbench.replay.gate import Gate

PLAN = pl.Schema(
    {
        "seq": pl.Int64,
        "lane": pl.String,
        "ordinal": pl.Int64,
        "kind": pl.String,
        "name": pl.String,
        "effect": pl.String,
        "action": pl.String,
        "reason": pl.String,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One row a call of the source: ``seq lane ordinal kind name effect action reason``.

    ``action`` is ``reused``, ``edited``, ``live`` or ``refused``. A call after the edit runs live
    only if its request changes; what is new in the fork cannot be listed.
    """

    calls: pl.DataFrame
    undeclared: tuple[str, ...]

    @property
    def counts(self) -> dict[str, int]:
        """How many calls each action has."""
        return dict(self.calls.group_by("action", maintain_order=True).len().iter_rows())

    def __str__(self) -> str:
        rows = self.calls.select("seq", "action", "kind", "name", "effect", "lane").iter_rows()
        lines = [f"{seq:>6}  {action:<8}{kind:<10}{name} ({effect})  {lane}"
                 for seq, action, kind, name, effect, lane in rows]  # fmt: skip
        head = ", ".join(f"{count} {action}" for action, count in self.counts.items())
        asked = f"\nundeclared effects: {', '.join(self.undeclared)}" if self.undeclared else ""
        return "\n".join([head, *lines]) + asked


def planned(recording: Recording, at: RecordedCall, *, gate: Gate, rest: str, edited: bool) -> Plan:
    """Return the plan of a fork."""
    rows = list(_rows(recording, at, gate=gate, rest=rest, edited=edited))
    undeclared = {r["name"] for r in rows if r["kind"] == "tool" and r["effect"] == "unknown"}
    return Plan(
        calls=pl.DataFrame(rows, schema=PLAN, orient="row"),
        undeclared=tuple(sorted(undeclared)),
    )


def _rows(
    recording: Recording, at: RecordedCall, *, gate: Gate, rest: str, edited: bool
) -> Iterator[dict[str, Any]]:
    for call in recording.calls:
        action, reason = _action(call, at, gate=gate, rest=rest, edited=edited)
        yield {
            "seq": call.seq,
            "lane": call.lane,
            "ordinal": call.ordinal,
            "kind": call.kind,
            "name": call.name,
            "effect": gate.effect(call.name, call.effect),
            "action": action,
            "reason": reason,
        }


def _action(
    call: RecordedCall, at: RecordedCall, *, gate: Gate, rest: str, edited: bool
) -> tuple[str, str]:
    if not edited:
        return "reused", "nothing is edited"
    if call.seq == at.seq:
        return "edited", "answered with the edit"
    if call.seq < (at.ended_seq or at.seq) or _beside(call.lane, at.lane):
        return "reused", "asked before the edited call came back, or spawned beside it"
    if rest == "cached":
        return "reused", "if its request stays the same; else the fork ends there"
    if not gate.allows(call.kind, call.name, call.effect):
        return "refused", "if its request changes; reused otherwise"
    return "live", "if its request changes; reused otherwise"


def _beside(lane: str, other: str) -> bool:
    """Say whether two lanes are different pieces of one parent's parallel work."""
    mine, theirs = lane.split("/"), other.split("/")
    shared = next((i for i, (a, b) in enumerate(zip(mine, theirs, strict=False)) if a != b), None)
    if shared is None:
        return False
    one, another = mine[shared], theirs[shared]
    if one.isdigit() and another.isdigit():
        return True
    return one.endswith("]") and one.partition("[")[0] == another.partition("[")[0]
