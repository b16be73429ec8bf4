"""What a replaying session tells of its differences, and for which of them it ends the agent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.capture.session import Session
from workbench.replay import divergence as d

if TYPE_CHECKING:
    from workbench.capture.journal import Journal
    from workbench.capture.session import Opened
    from workbench.recording import RecordedCall
    from workbench.replay.divergence import Divergence
    from workbench.replay.engine import Engine, Question


class TellingSession(Session):
    """Keeps how a replay differs from its recording; at the first difference it stops the agent.

    ``collect`` lets it go on wherever the recording has something to go on with.
    """

    replaying = True
    # a fork with an edit is not meant to end as its source did
    edited = False

    def __init__(self, journal: Journal, engine: Engine, *, collect: bool) -> None:
        super().__init__(journal)
        self.engine = engine
        self.recording = engine.recording
        self.collect = collect
        self.divergences: list[Divergence] = []
        self.stopped = False
        self.cancelled_by: Exception | None = None
        self._failed: set[str] = set()  # names of normalisers of whom that is told

    def note(self, found: Divergence) -> None:
        """Keep a difference."""
        with self.lock:
            self.divergences.append(found)

    def stop(self, found: Divergence) -> None:
        """Keep a difference and end the agent's code, unless all are to be collected."""
        self.tell(found)
        if not self.collect:
            self.stopped = True
            raise d.ReplayStopped

    def end(self, found: Divergence) -> None:
        """Keep a difference after which nothing recorded could be given: nothing goes on then."""
        self.tell(found)
        self.stopped = True

    def cancel(self, why: Exception) -> None:
        """End the agent's code at its next call, for a reason that is none of its own."""
        self.cancelled_by = why
        self.stopped = True

    def refuse_when_stopped(self) -> None:
        """End whatever of the agent goes on after it was stopped."""
        if self.stopped:
            raise d.ReplayStopped

    def tell(self, found: Divergence, *, asked: Question | None = None) -> None:
        """Keep a difference behind those of calls that were passed over before, unnoticed."""
        with self.lock:
            earlier = [] if self.edited else self.engine.left_over(asked)
            self.divergences += [*earlier, found]

    def tell_failed(self, question: Question) -> None:
        """Note once that a normaliser raised: the call was matched as if it had found nothing."""
        failed = self.engine.failed.get(question.name)
        if failed is not None and question.name not in self._failed:
            self._failed.add(question.name)
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

    # ---- streams

    def tell_stream(self, opened: Opened, call: RecordedCall) -> None:
        """Stop where a stream is asked for whole, or a whole answer in pieces."""
        was, now = ("streamed", "whole") if call.pieces is not None else ("whole", "streamed")
        self.stop(_of_stream(opened, call, f"the answer was {was} and is asked for {now}"))

    def past_end(self, opened: Opened) -> None:
        """Stop a reader that wants more of a cancelled stream than came of it."""
        cause = "the stream is read further than it was recorded"
        self.stop(_of_stream(opened, self.recorded(opened), cause))

    def left_early(self, opened: Opened) -> None:
        """Note a reader that left a stream before its recorded end."""
        cause = "the stream is left before its recorded end"
        self.note(_of_stream(opened, self.recorded(opened), cause))

    def recorded(self, opened: Opened) -> RecordedCall | None:
        """Return the call that was recorded at the position of another."""
        return self.recording.at(opened.lane, opened.ordinal)

    # ---- what no call answers

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

    def gap(self, kind: str, name: str | None, *, reason: str) -> None:
        """End an exact replay where something starts without an answered call."""
        super().gap(kind, name, reason=reason)
        self.end(_gap(kind, name, reason))
        raise d.ReplayStopped

    def refused_outside(self, event: str, ours: bool) -> None:  # noqa: FBT001 - a fact of the event
        """Note that something tried to connect or to start a process."""
        where = "the agent's own code" if ours else "another thread"
        self.end(_gap("network", event, f"{where} tried it outside a recorded call"))
        if ours:
            raise d.ReplayStopped

    def lost_call(self, name: str) -> None:
        """Note a call from code that lost its session."""
        self.end(_gap("unknown", name, "it was called from code that lost its session"))


def _of_stream(opened: Opened, recorded: RecordedCall | None, cause: str) -> Divergence:
    return d.Divergence(
        kind="stream_shape",
        seq=recorded.seq if recorded else None,
        lane=opened.lane,
        expected=None,
        actual={"name": opened.asked.name, "ordinal": opened.ordinal},
        cause=cause,
        fix="read the answer as it was read when the run was recorded",
    )


def _gap(kind: str, name: str | None, reason: str) -> Divergence:
    return d.Divergence(
        kind="capture_gap",
        seq=None,
        lane=None,
        expected=None,
        actual={"kind": kind, "name": name},
        cause=f"{kind} {name} crossed the boundary unrecorded: {reason}",
        fix="call it through its public entry, inside the recorded agent",
    )
