"""The calls of a replay that are really made: who may, within what, and what differs for it.

A live answer goes to the agent, so the agent goes on with what is true now. Where a later request
holds such an answer as a message, it is looked up as if it held the recorded one: so every call is
reached, and nothing of it counts as exact.
"""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING, Any

from workbench import hashing
from workbench.replay import divergence as d
from workbench.replay import guard
from workbench.replay.compared import outcome_changes
from workbench.replay.gate import Purse

if TYPE_CHECKING:
    from workbench.capture import outcomes
    from workbench.capture.session import Opened
    from workbench.recording import RecordedCall
    from workbench.replay.engine import Question
    from workbench.replay.gate import Gate
    from workbench.replay.policy import Budget
    from workbench.replay.session import ReplaySession


class Live:
    """Begins and ends the live calls of a session; knows which answers stand for which."""

    def __init__(self, session: ReplaySession, gate: Gate, budget: Budget) -> None:
        self._session = session
        self.gate = gate
        self.purse = Purse(budget)
        self.began = False
        self._open: dict[str, RecordedCall | None] = {}
        self._stands_for: dict[str, str] = {}

    def go(self, asked: Question, opened: Opened, *, stood_for: RecordedCall | None) -> None:
        """Let a call be made, or stop; the one in whose place it is made counts as consumed.

        Raises
        ------
        ReplayStopped
            It may not be made.
        """
        session = self._session
        refused = self._refusal(asked, opened.asked.effect)
        if refused is not None:
            here = session.recorded(opened)
            session.note(replace(refused, seq=here.seq if here else None))
            session.abandon(opened, "refused", "live")
            session.stopped = True
            raise d.ReplayStopped
        taken = None if stood_for is None else session.engine.take(stood_for, "live")
        call = taken.call if taken else None
        if call is None:  # what comes is compared with nothing
            session.passed_over(asked)
        self._begin(opened, call)
        session.improvised = True
        opened.labels = session.labels("live", "live")
        session.log(opened, "live", call)

    def _refusal(self, asked: Question, own: str) -> d.Divergence | None:
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

    def _begin(self, opened: Opened, stood_for: RecordedCall | None) -> None:
        self.began = True
        self.purse.take()
        opened.asked.effect = self.gate.effect(opened.asked.name, opened.asked.effect)  # type: ignore[assignment] # a word of the schema
        self._open[opened.step_id] = stood_for
        guard.permit(opened)

    def is_open(self, opened: Opened) -> bool:
        """Say whether a call was made live and has not come back yet."""
        return opened.step_id in self._open

    def ended(self, opened: Opened, came: outcomes.Came) -> None:
        """Count what a call used, and tell how what it gave differs from what was recorded."""
        guard.revoke(opened)
        call, asked = self._open.pop(opened.step_id), opened.asked
        usd, seconds = came.tokens.get("cost_usd"), perf_counter() - opened.started
        self.purse.spend(asked.kind, asked.name, usd=usd, seconds=seconds)
        if call is not None:
            self._compare(opened, came, call)

    def _compare(self, opened: Opened, came: outcomes.Came, call: RecordedCall) -> None:
        session = self._session
        mine, theirs = (came.outcome or {}).get("message"), (call.outcome or {}).get("message")
        if mine is not None and theirs is not None and mine != theirs:
            self._stands_for[mine] = theirs
        told = session.question(opened)
        if told.signature != call.signature:
            session.tell(session.engine.changed(told, call), asked=told)
            return
        found = outcome_changes(call, came, session.recording.bodies)
        if found is not None:
            session.note(found)

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
