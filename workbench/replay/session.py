"""A session that answers calls from a recording, as its policy says."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, TypeVar

from workbench.capture import humans, outcomes
from workbench.capture.session import Answer, Opened
from workbench.errors import CallMissed
from workbench.replay import divergence as d
from workbench.replay import frozen, given, savers, turns
from workbench.replay.answers import Answered, Answers
from workbench.replay.engine import Engine, Match, Question
from workbench.replay.gate import Gate
from workbench.replay.live import Live
from workbench.replay.plausible import Plausible
from workbench.replay.policy import Policy
from workbench.replay.redacting import as_recorded, received
from workbench.replay.telling import TellingSession

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

_MOST_BEHIND = 20_000  # events
# answers of these levels were not given to this very request in the recorded run
_IMPROVISED = frozenset({"kin", "simulated", "live"})


class ReplaySession(TellingSession):
    """Answers calls as a policy says.

    ``kin`` gives calls of other runs, where a cached call finds none in its own.
    """

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
        super().__init__(journal, Engine(recording, normalise=normalise), collect=collect)
        journal.redaction.wants(redact)
        self._redactions = [*as_recorded(recording, redact)]
        self.policy = policy
        self._exact = policy.mode == "exact" and not policy.overrides
        self.live = Live(self, Gate(effects, recording), policy.budget)
        self.improvised = False
        self.plausible = Plausible(self, simulate)
        self._kin = kin
        self.turns = turns.of(self, order)
        self.clock = frozen.clock_of(recording)
        self.world = recording.world
        self.answered = Answers()
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
        if self.journal.behind > _MOST_BEHIND:
            self.journal.settle()  # calls are answered faster than they are written
        with self.lock:
            self.refuse_when_stopped()
            if self._redactions:
                opened.asked = self._redacted(opened)
            match = self._at_once(opened)
            if match is not None:
                self._accept(opened, match, "exact")
                return
            question = self.question(opened)
            mode = self.policy.mode_of(question.kind, question.name, question.lane)
            if mode == "live":
                self.live.go(question, opened, stood_for=self.in_place_of(question))
                return
            if mode == "simulated":
                abstained = self.plausible.answer(question, opened)
                if abstained is not None:
                    self._miss(question, opened, mode, abstained)
                return
            match = self._matched(question, opened, mode)
            self.tell_failed(question)
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

    def question(self, opened: Opened) -> Question:
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

    def _matched(self, question: Question, opened: Opened, mode: Mode) -> Match | None:
        if mode == "exact":
            sound = question.order == "declared" and not question.drifted
            return self.engine.exact(question) if sound else None
        found = self.engine.cached(question)
        kin = self._kin
        if found is None and kin is not None:
            effect = self.live.gate.effect(question.name, opened.asked.effect)
            found = self.looked_up(lambda: kin(question, effect))
            if found is not None:
                self.passed_over(question)
        return found

    def looked_up(self, look: Callable[[], T]) -> T:
        """Return what is found beside the recording; a store that cannot be read is no miss."""
        try:
            return look()
        except Exception as error:
            self.cancel(error)  # raised where the replay was asked for, and not in the agent
            raise d.ReplayStopped from error

    def passed_over(self, question: Question) -> None:
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
        self.tell(abstained or self.engine.explain(question), asked=question)
        if missed == "live":
            self.live.go(question, opened, stood_for=None)
            return
        if missed == "error":
            self.abandon(opened, "miss", mode)
            raise CallMissed(
                f"{question.kind} {question.name} was not recorded with this request",
                where=f"call {question.ordinal} of lane {question.lane}",
                hint="the replay was told to raise this where nothing answers (on_miss)",
            )
        if missed == "simulate" and abstained is None:
            abstained = self.plausible.answer(question, opened)
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
        self.abandon(opened, "miss", mode)
        self.stopped = True
        raise d.ReplayStopped

    def _recovered(self, question: Question) -> Match | None:
        found = self.engine.cached(question)
        if found is not None:
            return found
        here = self.engine.fitting(question)
        return None if here is None else self.engine.take(here, "miss")

    def in_place_of(self, question: Question) -> RecordedCall | None:
        """Return the recorded call at a question's position, if it asks the same of the same."""
        here = self.recording.at(question.lane, question.ordinal)
        alike = here is not None and (here.kind, here.name) == (question.kind, question.name)
        return here if alike else None

    # ---- answers

    def write_end(self, opened: Opened, came: outcomes.Came, *, status: str) -> None:
        """Write the end of a call; what a live one gave is compared with what was recorded."""
        if self.live.is_open(opened):
            with self.lock:
                self.live.ended(opened, came)
        super().write_end(opened, came, status=status)
        self.turns.ended(opened)  # others may have waited for it
        if self.clock is not None and opened.answer is not None and opened.answer.source:
            self.clock.answered(opened.answer.source)

    def abandon(self, opened: Opened, level: str, mode: Mode) -> None:
        """Write a call that got no answer."""
        opened.labels = self.labels(level, mode)
        self._write_start(opened)
        self.write_end(opened, outcomes.Came(), status="cancelled")
        self.log(opened, level, None)

    def _accept(self, opened: Opened, match: Match, mode: Mode) -> None:
        level = match.level
        if opened.asked.signature != match.call.signature and level in ("exact", "lane", "run"):
            level = "normalised"  # it holds live answers in the place of recorded ones
        self.improvised = self.improvised or level in _IMPROVISED
        opened.answer = self.answer_of(opened, match)
        opened.labels = self.labels(level, mode)
        self.log(opened, level, match.call, match.run_id)
        self.turns.asked()
        if level != "miss" and (match.call.pieces is not None) != opened.streams:
            self.tell_stream(opened, match.call)

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

    def log(
        self, opened: Opened, level: str, call: RecordedCall | None, run_id: str | None = None
    ) -> None:
        """Keep how a call was answered."""
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

    def _write_start(self, opened: Opened) -> None:
        super()._write_start(opened)
        self.plausible.told(opened)

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

    # ---- what else of a recording stands for the agent's own

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
