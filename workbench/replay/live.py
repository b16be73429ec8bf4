"""The calls of a replay that are really made: who may, within what, and what differs for it.

A live answer goes to the agent, so the agent goes on with what is true now. Where a later request
holds such an answer as a message, it is looked up as if it held the recorded one: so every call is
reached, and nothing of it counts as exact.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workbench import hashing
from workbench.replay import divergence as d
from workbench.replay import guard
from workbench.replay.gate import Purse

if TYPE_CHECKING:
    from workbench.capture import outcomes
    from workbench.capture.session import Opened
    from workbench.recording import RecordedCall
    from workbench.replay.engine import Question
    from workbench.replay.gate import Gate
    from workbench.replay.policy import Budget


class Live:
    """Begins and ends live calls, and knows which of their answers stand for which."""

    def __init__(self, gate: Gate, budget: Budget) -> None:
        self.gate = gate
        self.purse = Purse(budget)
        self.began = False
        self._open: dict[str, RecordedCall | None] = {}
        self._stands_for: dict[str, str] = {}

    def refusal(self, asked: Question, own: str) -> d.Divergence | None:
        """Return why a call may not be made, or None where it may."""
        effect = self.gate.effect(asked.name, own)
        told = {"name": asked.name, "effect": effect, "request": asked.request}
        if not self.gate.allows(asked.kind, asked.name, own):
            return _refused(
                asked,
                expected="pure or read, or an approval",
                actual=told,
                cause=f"{asked.kind} {asked.name} would run live, and its effect is {effect}",
                fix=f'effects={{"{asked.name}": "read"}} if it only reads, '
                f'effects={{"{asked.name}": "approved"}} to let it act',
            )
        lacking = self.purse.lacks(asked.kind)
        if lacking is not None:
            return _refused(
                asked,
                expected="a call within the budget",
                actual=told,
                cause=f"{asked.kind} {asked.name} would run live, and {lacking}",
                fix="give a larger budget, or let fewer calls run live",
            )
        return None

    def begin(self, opened: Opened, stood_for: RecordedCall | None) -> None:
        """Let a call be made; ``stood_for`` is the recorded one in whose place it is."""
        self.began = True
        self.purse.take()
        opened.asked.effect = self.gate.effect(opened.asked.name, opened.asked.effect)  # type: ignore[assignment] # a word of the schema
        self._open[opened.step_id] = stood_for
        guard.permit(opened)

    def is_open(self, opened: Opened) -> bool:
        """Say whether a call was made live and has not come back yet."""
        return opened.step_id in self._open

    def ended(self, opened: Opened, came: outcomes.Came, took_s: float) -> RecordedCall | None:
        """Count what a call used; return the recorded one in whose place it was made."""
        guard.revoke(opened)
        recorded = self._open.pop(opened.step_id)
        asked = opened.asked
        self.purse.spend(asked.kind, asked.name, usd=came.tokens.get("cost_usd"), seconds=took_s)
        return recorded

    def stands_for(self, came: outcomes.Came, recorded: dict[str, Any] | None) -> None:
        """Note that a live message came in the place of a recorded one."""
        mine, theirs = (came.outcome or {}).get("message"), (recorded or {}).get("message")
        if mine is not None and theirs is not None and mine != theirs:
            self._stands_for[mine] = theirs

    def as_recorded(self, kind: str, name: str, request: dict[str, Any]) -> Recorded | None:
        """Return a request with recorded messages in the place of live ones; None if it has none.

        Its signature comes with it.
        """
        known, held = self._stands_for, request.get("messages")
        if not known or not held or known.keys().isdisjoint(held):
            return None
        told = {**request, "messages": [known.get(digest, digest) for digest in held]}
        return told, hashing.signature_of(kind=kind, name=name, request=told)


Recorded = tuple[dict[str, Any], str]


def _refused(
    asked: Question, *, expected: str, actual: dict[str, Any], cause: str, fix: str
) -> d.Divergence:
    return d.Divergence(
        kind="refused",
        seq=None,
        lane=asked.lane,
        expected=expected,
        actual=actual,
        cause=cause,
        fix=fix,
    )
