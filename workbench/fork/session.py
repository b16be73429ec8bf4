"""A session that replays up to an edit, answers it with the edit, and goes on from there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from workbench.capture import outside
from workbench.capture.session import Answer, Opened
from workbench.errors import UsageError
from workbench.fork import edits as editing
from workbench.replay import divergence as d
from workbench.replay import guard
from workbench.replay.engine import Match
from workbench.replay.redacting import received
from workbench.replay.session import ReplaySession

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workbench.capture.journal import Journal
    from workbench.recording import RecordedCall, Recording
    from workbench.redaction import Wanted
    from workbench.replay.engine import Question
    from workbench.replay.session import Answered

Rest = Literal["cached", "live"]
OnMiss = Literal["fail", "live"]
APPROVED = ("approved", "approve", "allow", "live", True)
_RUNS_LIVE = ("pure", "read")


class Gate:
    """Which calls may run live: models and retrievers, and tools that only read, or approved."""

    def __init__(self, effects: Mapping[str, Any] | None, recording: Recording) -> None:
        self._given = dict(effects or {})
        for name, effect in self._given.items():
            _checked(name, effect)
        self._recorded = {c.name: c.effect for c in recording.calls if c.effect != "unknown"}

    def effect(self, name: str, own: str) -> str:
        """Return a tool's effect: as declared for this fork, by itself, or in the recording."""
        given = self._given.get(name)
        if given is not None and given not in APPROVED:
            return str(given)
        return own if own != "unknown" else self._recorded.get(name, "unknown")

    def allows(self, kind: str, name: str, own: str) -> bool:
        """Say whether a call may be made live."""
        if kind in ("model", "retriever") or self._given.get(name) in APPROVED:
            return True
        return self.effect(name, own) in _RUNS_LIVE


def _checked(name: str, effect: Any) -> None:
    from workbench.capture.effects import EFFECTS

    if effect not in APPROVED and effect not in EFFECTS:
        raise UsageError(
            f"no such effect for {name}", expected=[*EFFECTS, "approved"], found=effect
        )


class ForkSession(ReplaySession):
    """Answers from a recording until the edited call; then by what still fits, or live."""

    def __init__(
        self,
        journal: Journal,
        recording: Recording,
        *,
        at: int,
        edits: Mapping[str, Any],
        rest: Rest,
        on_miss: OnMiss,
        effects: Mapping[str, Any] | None,
        redact: Wanted | None = None,
    ) -> None:
        super().__init__(journal, recording, mode="cached", redact=redact)
        self.at = at
        self.edits = edits
        self.edited = bool(edits)
        self.rest = rest
        self.on_miss = on_miss
        self.gate = Gate(effects, recording)
        self.edit_served = False
        self.live_began = False

    @property
    def skips_sleeps(self) -> bool:  # type: ignore[override] # it changes when calls go live
        """Waiting is skipped until something real is waited for."""
        return not self.live_began

    def _matched(self, question: Question, opened: Opened) -> Match | None:
        match = None
        if question.order == "declared":
            match = self.engine.exact(question)
        if match is None and self.edit_served and not self._in_prefix(question):
            match = self._matched_after(question, opened)
        if match is not None and match.level != "live" and match.call.seq == self.at:
            self.edit_served = True
            if "outcome" in self.edits:
                return Match(call=match.call, level="edited")
        return match

    def _in_prefix(self, question: Question) -> bool:
        """Say whether this position was recorded before the cut, where nothing may differ."""
        here = self.recording.at(question.lane, question.ordinal)
        return here is not None and here.seq < self.at

    def _matched_after(self, question: Question, opened: Opened) -> Match | None:
        if self.rest == "cached":
            found = self.engine.cached(question)
            if found is not None or self.on_miss == "fail":
                return found
        return self._go_live(question, opened)

    def _go_live(self, question: Question, opened: Opened) -> Match | None:
        own = opened.asked.effect
        if not self.gate.allows(question.kind, question.name, own):
            self._refuse(question, opened)
        if not self.live_began:
            self.live_began = True
            guard.lift(self)
            outside.replay_ended(self)
        opened.asked.effect = self.gate.effect(question.name, own)  # type: ignore[assignment] # a word of the schema
        return Match(call=_LIVE, level="live")

    def _refuse(self, question: Question, opened: Opened) -> None:
        effect = self.gate.effect(question.name, opened.asked.effect)
        here = self.recording.at(question.lane, question.ordinal)
        self.note(
            d.Divergence(
                kind="refused",
                seq=here.seq if here else None,
                lane=question.lane,
                expected="pure or read, or an approval",
                actual={"name": question.name, "effect": effect, "request": question.request},
                cause=f"{question.kind} {question.name} would run live, and its effect is {effect}",
                fix=f'effects={{"{question.name}": "read"}} if it only reads, '
                f'effects={{"{question.name}": "approved"}} to let it act',
            )
        )
        self._abandon(opened, "refused")
        raise d.ReplayStopped

    def _accept(self, opened: Opened, match: Match) -> None:
        if match.level == "live":
            opened.labels = self.labels("live")
            self._log(opened, "live", None)
            return
        super()._accept(opened, match)

    def answer_of(self, opened: Opened, call: RecordedCall, level: str) -> Answer:
        """Return the edit for the edited call, else what was recorded."""
        if level != "edited":
            return super().answer_of(opened, call, level)
        came = editing.edited(
            self.edits["outcome"], call, bodies=self.recording.bodies, asked=opened.asked
        )
        status = "error" if came.exception else "ok"
        return Answer(came=came, level=level, status=status, source=call)

    def expects(self, lane: str) -> bool:
        """After the edit nothing has to come as it was recorded."""
        return not self.edit_served and super().expects(lane)

    def mode_of(self, answered: Answered) -> str:
        """Return live where calls may be made behind the edit, else cached."""
        return "live" if "live" in (self.rest, self.on_miss) else super().mode_of(answered)

    def labels(self, level: str) -> dict[str, Any]:
        """Return what every event of a call carries: live calls are live, all others cached."""
        if not self.edit_served and level == "exact":
            return {"mode": "exact", "match_level": level}
        return {"mode": "live" if level == "live" else "cached", "match_level": level}

    def _note_stream(self, opened: Opened, call: RecordedCall) -> None:
        if opened.answer is not None and opened.answer.level != "edited":
            super()._note_stream(opened, call)

    def gap(self, kind: str, name: str | None, *, reason: str) -> None:
        """After the first live call a gap is only told; before it ends the fork."""
        if self.live_began:
            super(ReplaySession, self).gap(kind, name, reason=reason)
        else:
            super().gap(kind, name, reason=reason)


_LIVE: Any = None


def from_options(journal: Journal, recording: Recording, options: dict[str, Any]) -> ForkSession:
    """Return the session a child process was told to make."""
    edits = editing.received(options["edits"])
    redact = received(options["redact"])
    return ForkSession(journal, recording, **{**options, "edits": edits, "redact": redact})
