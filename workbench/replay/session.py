"""A session that answers from a recording and makes no call itself."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from workbench.capture import humans, outcomes
from workbench.capture.session import Answer, Opened, Session
from workbench.replay import divergence as d
from workbench.replay import savers
from workbench.replay.engine import Engine, Question
from workbench.replay.redacting import as_recorded, received

if TYPE_CHECKING:
    from concurrent.futures import Future

    from workbench.capture.asked import Asked
    from workbench.capture.effects import Effects
    from workbench.capture.journal import Journal
    from workbench.recording import RecordedCall, Recording
    from workbench.redaction import Wanted
    from workbench.replay.divergence import Divergence
    from workbench.replay.engine import Match

ReplayMode = Literal["exact", "cached"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """How one call of the replay was answered: a row of `ReplayResult.matches`."""

    lane: str
    ordinal: int
    kind: str
    name: str
    signature: str
    match_level: str
    source_seq: int | None


class ReplaySession(Session):
    """Answers every call from a recording; stops the agent at a difference, or collects it."""

    replaying = True
    skips_sleeps = True
    # a fork with an edit is not meant to end as its source did
    edited = False

    def __init__(
        self,
        journal: Journal,
        recording: Recording,
        *,
        mode: ReplayMode,
        collect: bool = False,
        effects: Effects | None = None,
        redact: Wanted | None = None,
    ) -> None:
        super().__init__(journal, effects=effects)
        journal.redaction.wants(redact)
        self._redactions = [*as_recorded(recording, redact)]
        self.recording = recording
        self.mode = mode
        self.collect = collect
        self.engine = Engine(recording)
        self.divergences: list[Divergence] = []
        self.answered: list[Answered] = []
        self.stopped = False
        self.cancelled_by: Exception | None = None
        self._told: set[str] = set()
        self._savers: dict[int, Any] = {}
        self._caches: dict[int, Any] = {}
        self._saver_lock = threading.Lock()

    # ---- answering

    def answer(self, opened: Opened) -> None:
        """Answer a call from the recording, or stop."""
        with self.lock:
            self._refuse_when_stopped()
            if self._redactions:
                opened.asked = self._redacted(opened)
            question = _question(opened)
            match = self._matched(question, opened)
            self._tell_failed(question)
            if match is None:
                match = self._differs(question, opened)
            if match is not None:
                self._accept(opened, match)

    def _redacted(self, opened: Opened) -> Asked:
        """Return what is asked as it was recorded, if it was by any of the rules of that time."""
        here = self.recording.at(opened.lane, opened.ordinal)
        tried = [redaction.asked(opened.asked) for redaction in self._redactions]
        alike = (asked for asked in tried if here and asked.signature == here.signature)
        return next(alike, tried[0])

    def as_stored(self, event_type: str, body: dict[str, Any]) -> dict[str, Any]:
        """Return an event's body as it would have been recorded."""
        return self._redactions[0].body(event_type, body) if self._redactions else body

    def _tell_failed(self, question: Question) -> None:
        """Note once that a normaliser raised: the call was matched as if it had found nothing."""
        failed = self.engine.failed.get(question.name)
        if failed is not None and question.name not in self._told:
            self._told.add(question.name)
            self.note(
                d.Divergence(
                    kind="normaliser_failed",
                    seq=None,
                    lane=question.lane,
                    expected=None,
                    actual={"kind": question.kind, "name": question.name},
                    cause=f"the normaliser of {question.kind} {question.name} raised {failed}",
                    fix="a normaliser must take every request that was recorded",
                )
            )

    def _matched(self, question: Question, opened: Opened) -> Match | None:  # noqa: ARG002 - a fork looks at the call
        if self.mode == "exact":
            return None if question.order != "declared" else self.engine.exact(question)
        return self.engine.cached(question)

    def _differs(self, question: Question, opened: Opened) -> Match | None:
        """Note what differs; stop, or go on with what fits best where all are to be collected."""
        self.note(self.engine.explain(question))
        if self.collect:
            found = self._recovered(question)
            if found is not None:
                return found
        self._abandon(opened, "miss")
        raise d.ReplayStopped

    def _recovered(self, question: Question) -> Match | None:
        found = self.engine.cached(question)
        if found is not None:
            return found
        here = self.recording.at(question.lane, question.ordinal)
        if here is not None and (here.kind, here.name) == (question.kind, question.name):
            return self.engine.take(here, "miss")
        return None

    def _abandon(self, opened: Opened, level: str) -> None:
        """Write a call that got no answer."""
        opened.labels = self.labels(level)
        self._write_start(opened)
        self.write_end(opened, outcomes.Came(), status="cancelled")
        self._log(opened, level, None)
        self.stopped = True

    def _accept(self, opened: Opened, match: Match) -> None:
        opened.answer = self.answer_of(opened, match.call, match.level)
        opened.labels = self.labels(match.level)
        self._log(opened, match.level, match.call)
        if match.level != "miss" and (match.call.pieces is not None) != opened.streams:
            self._note_stream(opened, match.call)

    def answer_of(self, opened: Opened, call: RecordedCall, level: str) -> Answer:
        """Return a recorded outcome as an answer, addressed to the call that asks."""
        outcome, bodies = readdressed(call, self.recording.bodies, opened.asked.tool_call_id)
        came = outcomes.Came(
            parsed=outcome,
            exception=call.exception,
            usage=call.usage,
            message_id=call.message_id,
            bodies=bodies,
            tokens=call.tokens,
        )
        return Answer(
            came=came,
            level=level,
            status=call.status,
            pieces=list(call.pieces) if call.pieces is not None else None,
            source=call,
        )

    def labels(self, level: str) -> dict[str, Any]:
        """Return what every event of a call carries in this mode."""
        return {"mode": self.mode, "match_level": level}

    def _log(self, opened: Opened, level: str, call: RecordedCall | None) -> None:
        self.answered.append(
            Answered(
                lane=opened.lane,
                ordinal=opened.ordinal,
                kind=opened.asked.kind,
                name=opened.asked.name,
                signature=opened.asked.signature,
                match_level=level,
                source_seq=call.seq if call else None,
            )
        )

    # ---- differences

    def note(self, found: Divergence) -> None:
        """Keep a difference."""
        with self.lock:
            self.divergences.append(found)

    def cancel(self, why: Exception) -> None:
        """End the agent's code at its next call, for a reason that is none of its own."""
        self.cancelled_by = why
        self.stopped = True

    def _refuse_when_stopped(self) -> None:
        if self.stopped:
            raise d.ReplayStopped

    def stop(self, found: Divergence) -> None:
        """Keep a difference and end the agent's code."""
        self.note(found)
        if not self.collect:
            self.stopped = True
            raise d.ReplayStopped

    def _note_stream(self, opened: Opened, call: RecordedCall) -> None:
        was, now = ("streamed", "whole") if call.pieces is not None else ("whole", "streamed")
        self.stop_unless_collecting(
            _stream_divergence(opened, call.seq, f"the answer was {was} and is asked for {now}")
        )

    def stop_unless_collecting(self, found: Divergence) -> None:
        """Keep a difference found while a call was answered."""
        self.stop(found)

    def ask_within(self, opened: Opened) -> None:
        """Ask again what an answered call asked a person, where that is why it was left."""
        answer = opened.answer
        if answer is None or answer.source is None or not humans.paused(answer.came):
            return
        call = answer.source
        for asked in self.engine.unused:
            inside = asked.lane == call.lane or asked.lane.startswith(call.lane + "/")
            while_it_ran = call.seq < asked.seq < (call.ended_seq or call.seq)
            if asked.kind == "human" and inside and while_it_ran:
                humans.ask_again(self, asked)

    def own_value(self, name: str, *, found: bool) -> None:
        """Note that a variable's value is not the recorded one, which nobody kept."""
        given = "this process's own value" if found else "a placeholder: it is not set here"
        self.note(
            d.Divergence(
                kind="own_value",
                seq=None,
                lane=None,
                expected=None,
                actual={"kind": "env", "name": name},
                cause=f"env {name} was recorded as a placeholder, and is {given}",
                fix="set it to what it was, or record it: wb.env(…, secret=False)",
            )
        )

    def past_end(self, opened: Opened) -> None:
        """Stop a reader that wants more of a cancelled stream than came of it."""
        call = self._recorded(opened)
        self.stop(
            _stream_divergence(
                opened,
                call.seq if call else None,
                "the stream is read further than it was recorded",
            )
        )

    def left_early(self, opened: Opened) -> None:
        """Note a reader that left a stream before its recorded end."""
        call = self._recorded(opened)
        self.note(
            _stream_divergence(
                opened, call.seq if call else None, "the stream is left before its recorded end"
            )
        )

    def _recorded(self, opened: Opened) -> RecordedCall | None:
        return self.recording.at(opened.lane, opened.ordinal)

    def gap(self, kind: str, name: str | None, *, reason: str) -> None:
        """End an exact replay where something starts without an answered call."""
        super().gap(kind, name, reason=reason)
        self.stopped = True
        self.note(_gap(kind, name, None, reason))
        raise d.ReplayStopped

    def refused_outside(self, event: str, ours: bool) -> None:  # noqa: FBT001 - a fact of the event
        """Note that something tried to connect or to start a process."""
        where = "the agent's own code" if ours else "another thread"
        self.stopped = True
        self.note(_gap("network", event, None, f"{where} tried it outside a recorded call"))
        if ours:
            raise d.ReplayStopped

    def handed_over(self, future: Future[Any], lane: str) -> None:
        """Keep a job that has not begun from being cancelled while its calls are expected.

        A replay is faster than its recording: where a neighbour fails, the job that had long begun
        then may still be queued now.
        """
        cancel = future.cancel

        def cancel_unless_expected() -> bool:
            return not self.expects(lane) and cancel()

        future.cancel = cancel_unless_expected  # type: ignore[method-assign] # of this one future

    def expects(self, lane: str) -> bool:
        """Say whether a recorded call in a lane or below it is still to be asked for."""
        with self.lock:
            return not self.stopped and self.engine.expects(lane)

    def saver_for(self, saver: Any) -> Any:
        """Return the fresh saver that stands for a graph's own."""
        with self._saver_lock:
            return savers.saver_for(self._savers, saver, earlier=self.recording.earlier)

    def cache_for(self, cache: Any) -> Any:
        """Return the fresh cache that stands for a graph's own."""
        with self._saver_lock:
            return savers.cache_for(self._caches, cache)

    def lost_call(self, name: str) -> None:
        """Note a call from code that lost its session."""
        self.note(_gap("unknown", name, None, "it was called from code that lost its session"))
        self.stopped = True


def readdressed(
    call: RecordedCall, bodies: Any, tool_call_id: str | None
) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """Return (outcome, bodies) of a recorded call, a tool's answer bearing the asking call's id."""
    from workbench import hashing

    outcome = call.outcome
    if outcome is None or "message" not in outcome:
        return outcome, {}
    body = bodies[outcome["message"]]
    if (
        tool_call_id is None
        or body.get("role") != "tool"
        or body.get("tool_call_id") == tool_call_id
    ):
        return outcome, {outcome["message"]: body}
    body = {**body, "tool_call_id": tool_call_id}
    digest = hashing.digest_of(body)
    return {"message": digest}, {digest: body}


def _question(opened: Opened) -> Question:
    asked = opened.asked
    return Question(
        kind=asked.kind,
        name=asked.name,
        lane=opened.lane,
        ordinal=opened.ordinal,
        signature=asked.signature,
        request=asked.request,
        bodies=asked.bodies,
        order=opened.order,
        streams=opened.streams,
        normalise=asked.normalise,
    )


def _stream_divergence(opened: Opened, seq: int | None, cause: str) -> Divergence:
    return d.Divergence(
        kind="stream_shape",
        seq=seq,
        lane=opened.lane,
        expected=None,
        actual={"name": opened.asked.name, "ordinal": opened.ordinal},
        cause=cause,
        fix="read the answer as it was read when the run was recorded",
    )


def _gap(kind: str, name: str | None, lane: str | None, reason: str) -> Divergence:
    return d.Divergence(
        kind="capture_gap",
        seq=None,
        lane=lane,
        expected=None,
        actual={"kind": kind, "name": name},
        cause=f"{kind} {name} crossed the boundary unrecorded: {reason}",
        fix="call it through its public entry, inside the recorded agent",
    )


def from_options(journal: Journal, recording: Recording, options: dict[str, Any]) -> ReplaySession:
    """Return the session a child process was told to make."""
    redact = received(options["redact"])
    return ReplaySession(journal, recording, **{**options, "redact": redact})
