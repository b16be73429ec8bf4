"""A session that replays up to an edit, answers it with the edit, and goes on from there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from workbench.capture import outside
from workbench.capture.session import Answer, Opened
from workbench.fork import edits as editing
from workbench.replay import guard
from workbench.replay.engine import Match
from workbench.replay.policy import Policy
from workbench.replay.redacting import received
from workbench.replay.session import ReplaySession
from workbench.replay.telling import TellingSession

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workbench.capture.journal import Journal
    from workbench.recording import RecordedCall, Recording
    from workbench.redaction import Wanted
    from workbench.replay.answers import Answered
    from workbench.replay.divergence import Divergence
    from workbench.replay.engine import Question
    from workbench.schema import Mode

Rest = Literal["cached", "live"]
OnMiss = Literal["fail", "live"]


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
        policy = Policy(mode="cached", on_miss="live" if rest == "live" else on_miss)
        super().__init__(journal, recording, policy=policy, effects=effects, redact=redact)
        self.at = at
        self.edits = edits
        self.edited = bool(edits)
        self.rest = rest
        self.edit_served = False

    def _matched(self, question: Question, opened: Opened, mode: Mode) -> Match | None:  # noqa: ARG002 - one mode for all
        match = None
        if question.order == "declared":
            match = self.engine.exact(question)
        if match is None and self.rest == "cached" and self._is_free(question):
            match = self.engine.cached(question)
        if match is not None and match.call.seq == self.at:
            self.edit_served = True
            if "outcome" in self.edits:
                return Match(call=match.call, level="edited")
        return match

    def _miss(
        self,
        question: Question,
        opened: Opened,
        mode: Mode,
        abstained: Divergence | None = None,
    ) -> None:
        """End the fork where its prefix differs; after the edit go on as it was told to."""
        if not self._is_free(question):
            super()._miss(question, opened, "exact", abstained)
        elif self.policy.on_miss == "live":
            # the edit changed what came before: nothing recorded is comparable with what it gives
            self.live.go(question, opened, stood_for=None)
            # the rest of a fork is live as a whole, what its clients do in the background too
            guard.lift(self)
            outside.replay_ended(self)
        else:
            super()._miss(question, opened, mode, abstained)

    def _is_free(self, question: Question) -> bool:
        """Say whether a call may differ: after the edit, and not where the prefix was recorded."""
        return self.edit_served and not self._in_prefix(question)

    def _in_prefix(self, question: Question) -> bool:
        """Say whether this position was recorded before the cut, where nothing may differ."""
        here = self.recording.at(question.lane, question.ordinal)
        return here is not None and here.seq < self.at

    def answer_of(self, opened: Opened, match: Match) -> Answer:
        """Return the edit for the edited call, else what was recorded."""
        if match.level != "edited":
            return super().answer_of(opened, match)
        came = editing.edited(
            self.edits["outcome"], match.call, bodies=self.recording.bodies, asked=opened.asked
        )
        status = "error" if came.exception else "ok"
        return Answer(came=came, level=match.level, status=status, source=match.call)

    def expects(self, lane: str) -> bool:
        """After the edit nothing has to come as it was recorded."""
        return not self.edit_served and super().expects(lane)

    def mode_of(self, answered: Answered) -> Mode:
        """Return live where calls may be made behind the edit, else cached."""
        return "live" if self.policy.on_miss == "live" else super().mode_of(answered)

    def labels(self, level: str, mode: Mode) -> dict[str, Any]:
        """Return what every event of a call carries: before the edit all are exact."""
        if not self.edit_served and level == "exact":
            mode = "exact"
        return super().labels(level, mode)

    def tell_stream(self, opened: Opened, call: RecordedCall) -> None:
        """Of the edited call it is no difference."""
        if opened.answer is not None and opened.answer.level != "edited":
            super().tell_stream(opened, call)

    def gap(self, kind: str, name: str | None, *, reason: str) -> None:
        """After the first live call a gap is only told; before it ends the fork."""
        if self.live.began:
            super(TellingSession, self).gap(kind, name, reason=reason)
        else:
            super().gap(kind, name, reason=reason)


def from_options(journal: Journal, recording: Recording, options: dict[str, Any]) -> ForkSession:
    """Return the session a child process was told to make."""
    edits = editing.received(options["edits"])
    redact = received(options["redact"])
    return ForkSession(journal, recording, **{**options, "edits": edits, "redact": redact})
