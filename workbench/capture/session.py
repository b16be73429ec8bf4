"""One recording: numbers the calls of each lane and writes what happens into the journal."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from langgraph.errors import GraphInterrupt

from workbench import hashing
from workbench.capture import children, exceptions, outcomes, scope, values, written
from workbench.capture.asked import Asked, MessagePool
from workbench.capture.effects import Effects
from workbench.capture.humans import PAUSED, Humans

if TYPE_CHECKING:
    from collections.abc import Mapping
    from concurrent.futures import Future

    from workbench.capture.journal import Journal
    from workbench.recording import RecordedCall
    from workbench.schema import Order

OnError = Literal["open", "closed"]
_CHUNK_MS = 50.0
_HARMLESS = frozenset(("pure", "read"))
_CHANGEABLE = (dict, list, set, bytearray)


class Answer(msgspec.Struct, kw_only=True, eq=False, gc=False):  # it holds no circles
    """What a call is answered with instead of being made."""

    came: outcomes.Came
    level: str
    status: str = "ok"
    pieces: list[list[Any]] | None = None
    source: RecordedCall | None = None


class Opened(msgspec.Struct, kw_only=True, eq=False, gc=False):
    """A call that was asked and has not come back yet.

    ``stream`` holds the pieces that came, where its outcome is asked for in pieces. Python's
    collector is not told of a call, since thousands may wait to be written, and nothing that it
    holds leads back to it: but for the pieces of a stream, which are the agent's (`_Streaming`).
    """

    session: Session
    asked: Asked
    place: scope.Place
    stream: Stream | None = None
    started: float = 0.0
    answer: Answer | None = None
    labels: Mapping[str, Any] | None = None
    lane: str = ""
    parent_step_id: str | None = None
    ordinal: int = 0
    order: Order = "declared"
    step_id: str = ""

    @property
    def streams(self) -> bool:
        """Whether its outcome is asked for in pieces."""
        return self.stream is not None


class _Streaming(Opened, kw_only=True, eq=False, gc=True):
    """A call that streams."""


@dataclass(slots=True)
class Stream:
    """The pieces of an outcome, and those of them that are not written yet."""

    pieces: list[Any] = field(default_factory=list)
    waiting: list[Any] = field(default_factory=list)
    chunks: int = 0
    chunk_at: float = 0.0
    lossy: bool = False


class _Lane:
    """How many calls a lane has had, and who makes those that are open."""

    __slots__ = ("open", "ordinal")

    def __init__(self) -> None:
        self.ordinal = 0
        self.open: dict[str, scope.Work] = {}


class Session:
    """Everything one recording or replay shares between its threads and tasks."""

    replaying = False
    skips_sleeps = False
    watches_roots = False
    # what the run began in, where that is known already
    world: Mapping[str, Any] | None = None
    # of a forked process: another one ends the run
    is_child = False
    has_children = False

    def __init__(
        self, journal: Journal, *, effects: Effects | None = None, on_error: OnError = "open"
    ) -> None:
        self.journal = journal
        self._stops = on_error == "closed"
        self.effects = effects or Effects()
        self.visits = scope.Visits()
        self.humans = Humans()
        self.pool = MessagePool()
        self.closed = False
        self.gaps: list[dict[str, Any]] = []
        # what holds something that cannot be restored, and calls whose order is chance: both are
        # counted behind the agent
        self.lossy: Counter[str] = Counter()
        self.unordered = 0
        self.lock = threading.RLock()
        self._lanes: dict[str, _Lane] = defaultdict(_Lane)
        self._inferred = 0
        self._strays: dict[tuple[str, scope.Work], scope.Place] = {}
        self.calls = 0
        self.handed_on: set[str] = set()  # lanes that other processes may join in
        children.watch(self)

    # ---- calls

    def begin(self, here: scope.Scope, asked: Asked, *, streams: bool = False) -> Opened:
        """Begin a call: number it in its lane, answer it if it is to be, write its start.

        Raises
        ------
        RecordingFailed
            The recording cannot go on, and the agent is to be stopped then.
        """
        if self._stops:
            self.journal.check()
        place, work = scope.place_of(here), scope.who()
        if here.owner != work:
            place = scope.beside(here, place, work)
        if streams:
            opened: Opened = _Streaming(session=self, asked=asked, place=place, stream=Stream())
        else:
            opened = Opened(session=self, asked=asked, place=place)
        with self.lock:
            self._number(opened, work)
        self.answer(opened)
        opened.started = perf_counter()
        self._write_start(opened)
        return opened

    def _number(self, opened: Opened, work: scope.Work) -> None:
        opened.lane = path = opened.place.path
        opened.order = opened.place.order
        opened.parent_step_id = opened.place.step_id
        lane = self._lanes[path]
        if lane.open and any(other != work for other in lane.open.values()):
            # two at once in one lane: their order is chance, so they are kept apart
            self._inferred += 1
            opened.lane, opened.order = f"root/?{self._inferred}", "inferred"
            lane = self._lanes[opened.lane]
        lane.ordinal += 1
        opened.ordinal = lane.ordinal
        opened.step_id = step_id = self.journal.step_id()
        lane.open[step_id] = work
        self.calls += 1

    def stray(self, place: scope.Place, work: scope.Work) -> scope.Place:
        """Return the lane of work that runs beside the owner of a place, nobody knows when."""
        with self.lock:
            found = self._strays.get((place.path, work))
            if found is None:
                self._inferred += 1
                found = self._strays[place.path, work] = scope.Place(
                    f"root/?{self._inferred}",
                    namespace=place.namespace,
                    step_id=place.step_id,
                    order="inferred",
                )
            return found

    def answer(self, opened: Opened) -> None:
        """Answer a call instead of making it; a recording answers none."""

    def _write_start(self, opened: Opened) -> None:
        self.journal.take(written.call_started, opened)
        if opened.answer is None and opened.asked.effect not in _HARMLESS:
            # What may change the world is on the disk before it does.
            self.journal.settle()
            if self._stops:
                self.journal.check()

    def ended(
        self, opened: Opened, value: Any, *, documents: bool = False, returned: Any = None
    ) -> None:
        """Write what a call gave back; ``returned`` is what a generator returned beside that."""
        try:
            if documents:
                came = outcomes.frozen_documents(value)
            else:
                came = outcomes.frozen(value, pool=self.pool)
            if returned is not None:
                came = outcomes.returning(came, returned)
        except Exception as error:  # noqa: BLE001 - capture never breaks the agent
            came = outcomes.Came(parsed={"value": None}, lossy=True)
            self.gap(opened.asked.kind, opened.asked.name, reason=hashing.repr_of(error))
        self.write_end(opened, came, status="ok")

    def failed(self, opened: Opened, error: BaseException) -> None:
        """Write what a call raised."""
        if isinstance(error, GraphInterrupt):
            self.write_end(opened, PAUSED, status="cancelled")
            return
        freezer = values.Freezer()
        came = outcomes.Came(exception=exceptions.to_record(error, freezer), lossy=freezer.lossy)
        stopped = isinstance(error, (asyncio.CancelledError, KeyboardInterrupt))
        self.write_end(opened, came, status="cancelled" if stopped else "error")

    def waits(self, opened: Opened) -> None:
        """Let others be called in the lane of a call that waits for a person."""
        with self.lock:
            self._lanes[opened.lane].open.pop(opened.step_id, None)

    def cancelled(self, opened: Opened) -> None:
        """Write that a stream was left before its end, with what came of it."""
        came = outcomes.Came()
        if opened.stream is not None and opened.stream.pieces:
            try:
                came = outcomes.frozen(outcomes.folded(opened.stream.pieces), pool=self.pool)
            except Exception as error:  # noqa: BLE001 - see above
                came = outcomes.Came(parsed={"value": None}, lossy=True)
                self.gap(opened.asked.kind, opened.asked.name, reason=hashing.repr_of(error))
        self.write_end(opened, came, status="cancelled")

    def write_end(self, opened: Opened, came: outcomes.Came, *, status: str) -> None:
        """Write the end of a call."""
        took = max(0.0, (perf_counter() - opened.started) * 1000)
        if opened.streams:
            self._write_last(opened)
        with self.lock:
            self._lanes[opened.lane].open.pop(opened.step_id, None)
        self.journal.take(written.call_ended, opened, came, status, took)

    # ---- streams

    def piece(self, opened: Opened, piece: Any) -> None:
        """Keep a piece of a stream; at most one chunk event in 50 ms."""
        stream = _stream(opened)
        form, lossy = values.freeze(piece)
        # the agent may change what it was given, and the pieces are summed up at the end
        stream.pieces.append(values.thaw(form) if type(piece) in _CHANGEABLE else piece)
        stream.lossy = stream.lossy or lossy
        stream.waiting.append(form)
        now = (perf_counter() - opened.started) * 1000
        if now - stream.chunk_at >= _CHUNK_MS:
            self._write_pieces(opened, stream, at_ms=now)

    def _write_pieces(self, opened: Opened, stream: Stream, *, at_ms: float | None = None) -> None:
        if not stream.waiting:
            return
        at_ms = (perf_counter() - opened.started) * 1000 if at_ms is None else at_ms
        self.write_chunk(opened, stream.waiting, at_ms=at_ms)
        stream.waiting, stream.chunk_at = [], at_ms

    def _write_last(self, opened: Opened) -> None:
        """Write what waits; a stream that gave nothing has one empty chunk, and so is known."""
        stream = _stream(opened)
        if stream.chunks or stream.waiting:
            self._write_pieces(opened, stream)
        else:
            self.write_chunk(opened, [], at_ms=(perf_counter() - opened.started) * 1000)

    def fed(self, opened: Opened) -> None:
        """Keep that a stream went on with what its reader sent: a replay cannot check that."""
        _stream(opened).lossy = True

    def write_chunk(self, opened: Opened, pieces: list[Any], *, at_ms: float) -> None:
        """Write one chunk event."""
        stream = _stream(opened)
        body = {"index": stream.chunks, "pieces": pieces, "at_ms": max(0.0, round(at_ms, 3))}
        stream.chunks += 1
        self.journal.take(written.chunk, opened, hashing.dumps_in_order(body))

    # ---- in turn: what is answered and not made may have to wait

    def turn(self, opened: Opened) -> None:
        """Wait until it is an answered call's turn."""

    async def turn_in_loop(self, opened: Opened) -> None:
        """Wait in a task until it is an answered call's turn."""

    async def piece_in_loop(self, opened: Opened) -> None:
        """Wait in a task for the next pieces of an answer."""

    # ---- what was missed

    def gap(self, kind: str, name: str | None, *, reason: str) -> None:
        """Keep that something crossed the boundary without being recorded."""
        found = {
            "kind": kind,
            "name": None if name is None else hashing.as_text(str(name)),
            "reason": hashing.as_text(reason),
        }
        with self.lock:
            self.gaps.append(found)
        self.journal.put(
            "annotated",
            payload=hashing.dumps({"label": "capture_gap", "value": found}),
        )

    def handed_over(self, future: Future[Any], lane: str) -> None:
        """Take note of a job that was handed to another thread in a lane."""

    def saver_for(self, saver: Any) -> Any:
        """Return what a graph saves its state to; in a recording its own."""
        return saver

    def cache_for(self, cache: Any) -> Any:
        """Return what a graph keeps its nodes' results in; in a recording its own."""
        return cache

    def ask_within(self, opened: Opened) -> None:
        """Ask again what an answered call asked a person; a recording answers none."""

    def own_value(self, name: str, *, found: bool) -> None:
        """Say that a variable's value was not recorded and is this process's, if it has one."""

    def past_end(self, opened: Opened) -> None:
        """Say that a stream was read further than it was recorded."""

    def left_early(self, opened: Opened) -> None:
        """Say that a stream was left before the end that was recorded."""


def _stream(opened: Opened) -> Stream:
    if opened.stream is None:
        raise RuntimeError("only a call that streams has pieces")
    return opened.stream
