"""A session that answers from a recording, and makes no call but those its policy lets live."""

from __future__ import annotations

import threading
from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from workbench.capture import humans, outcomes
from workbench.capture.session import Answer, Opened, Session
from workbench.errors import CallMissed
from workbench.replay import divergence as d
from workbench.replay import frozen, given, plausible, savers, turns
from workbench.replay.compared import outcome_changes
from workbench.replay.engine import Engine, Match, Question
from workbench.replay.gate import Gate
from workbench.replay.live import Live
from workbench.replay.plausible import Plausible
from workbench.replay.policy import Policy
from workbench.replay.redacting import as_recorded, received

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Future

    from workbench.capture.asked import Asked
    from workbench.capture.journal import Journal
    from workbench.capture.normalise import Normalise
    from workbench.recording import RecordedCall, Recording
    from workbench.redaction import Wanted
    from workbench.replay.divergence import Divergence
    from workbench.replay.policy import Order
    from workbench.replay.simulate import Simulator
    from workbench.schema import Mode

    # (question, effect) → a call of another run
    Kindred = Callable[[Question, str], Match | None]

T = TypeVar("T")

_MOST_BEHIND = 10_000  # calls
# answers of these levels were not given to this very request in the recorded run
_IMPROVISED = frozenset({"kin", "simulated", "live"})


class Answered(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How one call of the replay was answered: a row of `ReplayResult.matches`."""

    lane: str
    ordinal: int
    kind: str
    name: str
    signature: str
    match_level: str
    source_seq: int | None
    source_run_id: str | None = None


class ReplaySession(Session):
    """Answers calls as a policy says; stops the agent at a difference, or collects it.

    ``kin`` gives calls of other runs, where a cached call finds none in its own.
    """

    replaying = True
    # a fork with an edit is not meant to end as its source did
    edited = False

    def __init__(
        self,
        journal: Journal,
        recording: Recording,
        *,
        policy: Policy,
        effects: Mapping[str, Any] | None = None,
        collect: bool = False,
        kin: Kindred | None = None,
        redact: Wanted | None = None,
        order: Order = "declared",
        normalise: Mapping[str, Normalise] | None = None,
        simulate: Simulator | None = None,
    ) -> None:
        super().__init__(journal)
        journal.redaction.wants(redact)
        self._redactions = [*as_recorded(recording, redact)]
        self.recording = recording
        self.policy = policy
        self._exact = policy.mode == "exact" and not policy.overrides
        self.collect = collect
        self.engine = Engine(recording, normalise=normalise)
        self.live = Live(Gate(effects, recording), policy.budget)
        self.improvised = False
        self.plausible = Plausible(simulate)
        self._kin = kin
        self.turns = turns.of(self, order)
        self.clock = frozen.clock_of(recording)
        self.world = recording.world
        self.divergences: list[Divergence] = []
        self.answered: list[Answered] = []
        self.stopped = False
        self.cancelled_by: Exception | None = None
        self._told: set[str] = set()
        self._savers: dict[int, Any] = {}
        self._caches: dict[int, Any] = {}
        self._saver_lock = threading.Lock()

    @property
    def mode(self) -> Mode:
        """The replay's own mode; single calls may have others."""
        return self.policy.mode

    @property
    def skips_sleeps(self) -> bool:  # type: ignore[override] # it changes when calls go live
        """Waiting is skipped until something real is waited for."""
        return not self.live.began

    # ---- answering

    def answer(self, opened: Opened) -> None:
        """Answer a call as the policy says, let it be made, or stop."""
        if len(self.answered) % _MOST_BEHIND == _MOST_BEHIND - 1:
            self.journal.settle()  # calls are answered faster than they are written
        with self.lock:
            self._refuse_when_stopped()
            if self._redactions:
                opened.asked = self._redacted(opened)
            match = self._at_once(opened)
            if match is not None:
                self._accept(opened, match, "exact")
                return
            question = self._question(opened)
            mode = self.policy.mode_of(question.kind, question.name, question.lane)
            if mode == "live":
                self._go_live(question, opened, stood_for=self._in_place_of(question))
                return
            if mode == "simulated":
                abstained = self._simulate(question, opened)
                if abstained is not None:
                    self._miss(question, opened, mode, abstained)
                return
            match = self._matched(question, opened, mode)
            self._tell_failed(question)
            if match is not None:
                self._accept(opened, match, mode)
            else:
                self._miss(question, opened, mode)

    def _at_once(self, opened: Opened) -> Match | None:
        """Return what answers a call of a wholly exact replay, as nearly all are answered.

        A question is made of the others: those that nothing answers, or of whom more is to be told.
        """
        if not self._exact or opened.order != "declared" or self.live.began or self.engine.failed:
            return None
        return self.engine.at_once(opened.lane, opened.ordinal, opened.asked.signature)

    def _question(self, opened: Opened) -> Question:
        """Return what is asked, with recorded messages in the place of live ones."""
        asked = opened.asked
        request, signature = asked.request, asked.signature
        told = self.live.as_recorded(asked.kind, asked.name, request) if self.live.began else None
        if told is not None:
            request, signature = told
        return Question(
            kind=asked.kind,
            name=asked.name,
            lane=opened.lane,
            ordinal=opened.ordinal,
            signature=signature,
            request=request,
            bodies=asked.bodies,
            order=opened.order,
            streams=opened.streams,
            tool_call_id=asked.tool_call_id,
            normalise=asked.normalise,
            drifted=told is not None,
        )

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

    def _matched(self, question: Question, opened: Opened, mode: Mode) -> Match | None:
        if mode == "exact":
            sound = question.order == "declared" and not question.drifted
            return self.engine.exact(question) if sound else None
        found = self.engine.cached(question)
        kin = self._kin
        if found is None and kin is not None:
            effect = self.live.gate.effect(question.name, opened.asked.effect)
            found = self._looked_up(lambda: kin(question, effect))
            if found is not None:
                self._passed_over(question)
        return found

    def _looked_up(self, look: Callable[[], T]) -> T:
        """Return what is found beside the recording; a store that cannot be read is no miss."""
        try:
            return look()
        except Exception as error:
            self.cancel(error)  # raised where the replay was asked for, and not in the agent
            raise d.ReplayStopped from error

    def _passed_over(self, question: Question) -> None:
        """Keep a request that was changed and is answered all the same, by no recorded call."""
        here = self.recording.at(question.lane, question.ordinal)
        if here is None or here.signature != question.signature:
            self.engine.passed_over(question)

    def _miss(
        self,
        question: Question,
        opened: Opened,
        mode: Mode,
        abstained: Divergence | None = None,
    ) -> None:
        """Do with a call that nothing answers what the policy says; an exact one is the end.

        ``abstained`` says why nothing simulates it, where that was asked for.
        """
        missed = "fail" if mode == "exact" else self.policy.on_miss
        self._tell(abstained or self.engine.explain(question), asked=question)
        if missed == "live":
            self._go_live(question, opened, stood_for=None)
            return
        if missed == "error":
            self._abandon(opened, "miss", mode)
            raise CallMissed(
                f"{question.kind} {question.name} was not recorded with this request",
                where=f"call {question.ordinal} of lane {question.lane}",
                hint="the replay was told to raise this where nothing answers (on_miss)",
            )
        if missed == "simulate" and abstained is None:
            abstained = self._simulate(question, opened)
            if abstained is None:
                return
            self.note(abstained)
        self._accept(opened, self._best(question, opened, mode), mode)

    def _best(self, question: Question, opened: Opened, mode: Mode) -> Match:
        """Give what fits best where all differences are to be collected; stop elsewhere."""
        if self.collect:
            found = self._recovered(question)
            if found is not None:
                return found
        self._abandon(opened, "miss", mode)
        self.stopped = True
        raise d.ReplayStopped

    def _recovered(self, question: Question) -> Match | None:
        found = self.engine.cached(question)
        if found is not None:
            return found
        here = self.engine.fitting(question)
        return None if here is None else self.engine.take(here, "miss")

    # ---- simulated calls

    def _simulate(self, question: Question, opened: Opened) -> Divergence | None:
        """Answer a call with what is plausible; return why nothing is."""
        here = self._recorded(opened)
        found = self._looked_up(lambda: self.plausible.answer(question, opened, here))
        if not isinstance(found, Answer):
            return plausible.abstained(question, here, found)
        stood_for = self._in_place_of(question)
        if stood_for is not None:  # nobody waits for it any more, and nothing of it was given
            self.engine.take(stood_for, "simulated")
        self._passed_over(question)
        self.improvised = True
        opened.answer = found
        opened.labels = self.labels("simulated", "simulated")
        self._log(opened, "simulated", None)
        self.turns.asked()
        return None

    def _write_start(self, opened: Opened) -> None:
        super()._write_start(opened)
        told = self.plausible.annotation(opened)
        if told is not None:
            self.journal.put(
                "annotated",
                payload=told,
                step_id=opened.step_id,
                lane=opened.lane,
                **self.labels("simulated", "simulated"),
            )

    # ---- live calls

    def _go_live(
        self, question: Question, opened: Opened, *, stood_for: RecordedCall | None
    ) -> None:
        """Let a call be made; the one in whose place it is counts as consumed."""
        refused = self.live.refusal(question, opened.asked.effect)
        if refused is not None:
            here = self._recorded(opened)
            self.note(replace(refused, seq=here.seq if here else None))
            self._abandon(opened, "refused", "live")
            self.stopped = True
            raise d.ReplayStopped
        taken = None if stood_for is None else self.engine.take(stood_for, "live")
        if taken is None:  # what came is compared with nothing
            self._passed_over(question)
        self.live.begin(opened, taken.call if taken else None)
        self.improvised = True
        opened.labels = self.labels("live", "live")
        self._log(opened, "live", taken.call if taken else None)

    def _in_place_of(self, question: Question) -> RecordedCall | None:
        """Return the recorded call at a question's position, if it asks the same of the same."""
        here = self.recording.at(question.lane, question.ordinal)
        alike = here is not None and (here.kind, here.name) == (question.kind, question.name)
        return here if alike else None

    def write_end(self, opened: Opened, came: outcomes.Came, *, status: str) -> None:
        """Write the end of a call; what a live one gave is compared with what was recorded."""
        if self.live.is_open(opened):
            with self.lock:
                self._compare(opened, came)
        super().write_end(opened, came, status=status)
        self.turns.ended(opened)  # others may have waited for it
        if self.clock is not None and opened.answer is not None and opened.answer.source:
            self.clock.answered(opened.answer.source)

    def _compare(self, opened: Opened, came: outcomes.Came) -> None:
        call = self.live.ended(opened, came, perf_counter() - opened.started)
        if call is None:
            return
        self.live.stands_for(came, call.outcome)
        told = self._question(opened)
        if told.signature != call.signature:
            self._tell(self.engine.changed(told, call), asked=told)
            return
        found = outcome_changes(call, came, self.recording.bodies)
        if found is not None:
            self.note(found)

    # ---- answers

    def _abandon(self, opened: Opened, level: str, mode: Mode) -> None:
        """Write a call that got no answer."""
        opened.labels = self.labels(level, mode)
        self._write_start(opened)
        self.write_end(opened, outcomes.Came(), status="cancelled")
        self._log(opened, level, None)

    def _accept(self, opened: Opened, match: Match, mode: Mode) -> None:
        level = match.level
        if opened.asked.signature != match.call.signature and level in ("exact", "lane", "run"):
            level = "normalised"  # it holds live answers in the place of recorded ones
        self.improvised = self.improvised or level in _IMPROVISED
        opened.answer = self.answer_of(opened, match)
        opened.labels = self.labels(level, mode)
        self._log(opened, level, match.call, match.run_id)
        self.turns.asked()
        if level != "miss" and (match.call.pieces is not None) != opened.streams:
            self._note_stream(opened, match.call)

    def answer_of(self, opened: Opened, match: Match) -> Answer:
        """Return a recorded outcome as an answer, addressed to the call that asks."""
        call, known = match.call, match.bodies or self.recording.bodies
        outcome, bodies = given.readdressed(call.outcome, known, opened.asked.tool_call_id)
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
            level=match.level,
            status=call.status,
            pieces=list(call.pieces) if call.pieces is not None and opened.streams else None,
            source=call,
        )

    def labels(self, level: str, mode: Mode) -> dict[str, Any]:
        """Return what every event of a call carries."""
        return {"mode": mode, "match_level": level}

    def mode_of(self, answered: Answered) -> Mode:
        """Return by what a call was asked to be answered."""
        return self.policy.mode_of(answered.kind, answered.name, answered.lane)

    def _log(
        self, opened: Opened, level: str, call: RecordedCall | None, run_id: str | None = None
    ) -> None:
        self.answered.append(
            Answered(
                lane=opened.lane,
                ordinal=opened.ordinal,
                kind=opened.asked.kind,
                name=opened.asked.name,
                signature=opened.asked.signature,
                match_level=level,
                source_seq=call.seq if call else None,
                source_run_id=run_id,
            )
        )

    # ---- in turn

    def turn(self, opened: Opened) -> None:
        """Wait until it is a call's turn to be answered."""
        self.turns.wait(opened)

    async def turn_in_loop(self, opened: Opened) -> None:
        """Wait in a task until it is a call's turn."""
        await self.turns.wait_in_loop(opened)

    async def piece_in_loop(self, opened: Opened) -> None:
        """Let other tasks have their turn before the next pieces of a stream."""
        await self.turns.wait_for_piece(opened)

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
        """Keep a difference and end the agent's code, unless all are to be collected."""
        self._tell(found)
        if not self.collect:
            self.stopped = True
            raise d.ReplayStopped

    def end(self, found: Divergence) -> None:
        """Keep a difference after which nothing recorded could be given: nothing goes on then."""
        self._tell(found)
        self.stopped = True

    def _tell(self, found: Divergence, *, asked: Question | None = None) -> None:
        """Keep a difference behind those of calls that were passed over before, unnoticed."""
        with self.lock:
            earlier = [] if self.edited else self.engine.left_over(asked)
            self.divergences += [*earlier, found]

    def _note_stream(self, opened: Opened, call: RecordedCall) -> None:
        was, now = ("streamed", "whole") if call.pieces is not None else ("whole", "streamed")
        self.stop(
            _stream_divergence(opened, call.seq, f"the answer was {was} and is asked for {now}")
        )

    def ask_within(self, opened: Opened) -> None:
        """Ask again what an answered call asked a person, where that is why it was left."""
        answer = opened.answer
        if answer is None or answer.source is None or not humans.paused(answer.came):
            return
        call = answer.source
        for asked in self.engine.unused_in(call.lane):
            while_it_ran = call.seq < asked.seq < (call.ended_seq or call.seq)
            if asked.kind == "human" and while_it_ran:
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
        self.end(_gap(kind, name, None, reason))
        raise d.ReplayStopped

    def refused_outside(self, event: str, ours: bool) -> None:  # noqa: FBT001 - a fact of the event
        """Note that something tried to connect or to start a process."""
        where = "the agent's own code" if ours else "another thread"
        self.end(_gap("network", event, None, f"{where} tried it outside a recorded call"))
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
        self.end(_gap("unknown", name, None, "it was called from code that lost its session"))


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
    told = {
        **options,
        "policy": Policy.from_dict(options["policy"]),
        "redact": received(options["redact"]),
    }
    if told.get("simulate") is not None:
        from workbench.replay import simulate

        told["simulate"] = simulate.received(told["simulate"])
    return ReplaySession(journal, recording, **told)
