"""One recording: numbers the calls of each lane and writes what happens into the journal."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import perf_counter
from typing import TYPE_CHECKING, Any

from workbench import hashing
from workbench.capture import exceptions, outcomes, scope, values
from workbench.capture.asked import Asked, MessagePool
from workbench.capture.effects import Effects
from workbench.capture.requests import InjectedNames

if TYPE_CHECKING:
    from concurrent.futures import Future

    from workbench.capture.journal import Journal
    from workbench.schema import Order

_CHUNK_MS = 50.0


@dataclass(kw_only=True)
class Answer:
    """What a call is answered with instead of being made."""

    came: outcomes.Came
    level: str
    status: str = "ok"
    pieces: list[list[Any]] | None = None
    labels: dict[str, Any] = field(default_factory=dict)


@dataclass(kw_only=True)
class Opened:
    """A call that was asked and has not come back yet."""

    session: Session
    asked: Asked
    place: scope.Place
    lane: str
    ordinal: int
    order: Order
    step_id: str
    who: tuple[int, int]
    streams: bool = False
    started: float = 0.0
    answer: Answer | None = None
    labels: dict[str, Any] = field(default_factory=dict)
    pieces: list[Any] = field(default_factory=list)
    waiting: list[Any] = field(default_factory=list)
    chunks: int = 0
    chunk_at: float = 0.0
    lossy: bool = False


class Session:
    """Everything one recording or replay shares between its threads and tasks."""

    replaying = False
    skips_sleeps = False
    watches_roots = False

    def __init__(self, journal: Journal, *, effects: Effects | None = None) -> None:
        self.journal = journal
        self.effects = effects or Effects()
        self.visits = scope.Visits()
        self.pool = MessagePool()
        self.injected = InjectedNames()
        self.closed = False
        self.gaps: list[dict[str, Any]] = []
        self.lock = threading.RLock()
        self._ordinals: dict[str, int] = {}
        self._open: dict[str, dict[str, tuple[int, int]]] = {}
        self._inferred = 0
        self.calls = 0
        self.witness: Any = None

    # ---- calls

    def begin(self, here: scope.Scope, asked: Asked, *, streams: bool = False) -> Opened:
        """Begin a call: number it in its lane, answer it if it is to be, write its start."""
        place = scope.place_of(here)
        with self.lock:
            opened = self._numbered(place, asked, streams=streams)
        self.answer(opened)
        opened.started = perf_counter()
        self._write_start(opened)
        return opened

    def _numbered(self, place: scope.Place, asked: Asked, *, streams: bool) -> Opened:
        lane, order = place.path, "declared"
        who = _who()
        if any(other != who for other in self._open.get(lane, {}).values()):
            # two at once in one lane: their order is chance, so they are kept apart
            self._inferred += 1
            lane, order = f"root/?{self._inferred}", "inferred"
        ordinal = self._ordinals[lane] = self._ordinals.get(lane, 0) + 1
        step_id = self.journal.step_id()
        self._open.setdefault(lane, {})[step_id] = who
        self.calls += 1
        return Opened(
            session=self,
            asked=asked,
            place=place,
            lane=lane,
            ordinal=ordinal,
            order=order,  # type: ignore[arg-type] # one of the two literals above
            step_id=step_id,
            who=who,
            streams=streams,
        )

    def answer(self, opened: Opened) -> None:
        """Answer a call instead of making it; a recording answers none."""

    def _write_start(self, opened: Opened) -> None:
        asked = opened.asked
        self.journal.put(
            "call_started",
            at=datetime.now(UTC),
            payload=asked.payload,
            bodies=asked.bodies,
            late=lambda: {"signature": asked.signature},
            step_id=opened.step_id,
            parent_step_id=opened.place.step_id,
            kind=asked.kind,
            name=asked.name,
            lane=opened.lane,
            ordinal=opened.ordinal,
            effect=asked.effect,
            quality="lossy" if asked.lossy else "full",
            order=opened.order,
            status="running",
            **opened.labels,
        )

    def ended(self, opened: Opened, value: Any, *, documents: bool = False) -> None:
        """Write what a call gave back."""
        try:
            if documents:
                came = outcomes.frozen_documents(value)
            else:
                came = outcomes.frozen(value, pool=self.pool)
        except Exception as error:  # noqa: BLE001 - capture never breaks the agent
            came = outcomes.Came(outcome={"value": None}, lossy=True)
            self.gap(opened.asked.kind, opened.asked.name, reason=repr(error))
        self.write_end(opened, came, status="ok")

    def failed(self, opened: Opened, error: BaseException) -> None:
        """Write what a call raised."""
        freezer = values.Freezer()
        came = outcomes.Came(exception=exceptions.to_record(error, freezer), lossy=freezer.lossy)
        stopped = isinstance(error, (asyncio.CancelledError, KeyboardInterrupt))
        self.write_end(opened, came, status="cancelled" if stopped else "error")

    def cancelled(self, opened: Opened) -> None:
        """Write that a stream was left before its end, with what came of it."""
        came = outcomes.Came()
        if opened.pieces:
            came = outcomes.frozen(outcomes.folded(opened.pieces), pool=self.pool)
        self.write_end(opened, came, status="cancelled")

    def write_end(self, opened: Opened, came: outcomes.Came, *, status: str) -> None:
        """Write the end of a call."""
        took = max(0.0, (perf_counter() - opened.started) * 1000)
        self._write_pieces(opened)
        with self.lock:
            self._open.get(opened.lane, {}).pop(opened.step_id, None)
        asked, lossy = opened.asked, opened.asked.lossy or opened.lossy or came.lossy
        payload: dict[str, Any] = {
            "outcome": came.outcome,
            "exception": came.exception,
            "usage": came.usage,
        }
        payload["message_id"] = came.message_id
        self.journal.put(
            "call_ended",
            at=datetime.now(UTC),
            payload=hashing.dumps({k: v for k, v in payload.items() if v is not None}),
            bodies=came.bodies,
            late=lambda: {
                "content_hash": hashing.content_hash(
                    kind=asked.kind,
                    name=asked.name,
                    request=asked.request,
                    outcome=came.outcome if came.outcome is not None else came.exception,
                )
            },
            step_id=opened.step_id,
            parent_step_id=opened.place.step_id,
            kind=asked.kind,
            name=asked.name,
            lane=opened.lane,
            ordinal=opened.ordinal,
            quality="lossy" if lossy else "full",
            status=status,
            duration_ms=took,
            **came.tokens,
            **opened.labels,
        )

    # ---- streams

    def piece(self, opened: Opened, piece: Any) -> None:
        """Keep a piece of a stream; at most one chunk event in 50 ms."""
        opened.pieces.append(piece)
        form, lossy = values.freeze(piece)
        opened.lossy = opened.lossy or lossy
        opened.waiting.append(form)
        now = (perf_counter() - opened.started) * 1000
        if now - opened.chunk_at >= _CHUNK_MS:
            self._write_pieces(opened, at_ms=now)

    def _write_pieces(self, opened: Opened, *, at_ms: float | None = None) -> None:
        if not opened.waiting:
            return
        at_ms = (perf_counter() - opened.started) * 1000 if at_ms is None else at_ms
        self.write_chunk(opened, opened.waiting, at_ms=at_ms)
        opened.waiting, opened.chunk_at = [], at_ms

    def write_chunk(self, opened: Opened, pieces: list[Any], *, at_ms: float) -> None:
        """Write one chunk event."""
        body = {"index": opened.chunks, "pieces": pieces, "at_ms": max(0.0, round(at_ms, 3))}
        opened.chunks += 1
        self.journal.put(
            "chunk",
            at=datetime.now(UTC),
            payload=hashing.dumps(body),
            step_id=opened.step_id,
            parent_step_id=opened.place.step_id,
            kind=opened.asked.kind,
            name=opened.asked.name,
            lane=opened.lane,
            ordinal=opened.ordinal,
            **opened.labels,
        )

    # ---- what was missed

    def gap(self, kind: str, name: str | None, *, reason: str) -> None:
        """Keep that something crossed the boundary without being recorded."""
        found = {"kind": kind, "name": name, "reason": reason}
        with self.lock:
            self.gaps.append(found)
        self.journal.put(
            "annotated",
            at=datetime.now(UTC),
            payload=hashing.dumps({"label": "capture_gap", "value": found}),
        )

    def handed_over(self, future: Future[Any], lane: str) -> None:
        """Take note of a job that was handed to another thread in a lane."""

    def saver_for(self, saver: Any) -> Any:
        """Return what a graph saves its state to; in a recording its own."""
        return saver

    def past_end(self, opened: Opened) -> None:
        """Say that a stream was read further than it was recorded."""

    def left_early(self, opened: Opened) -> None:
        """Say that a stream was left before the end that was recorded."""


def _who() -> tuple[int, int]:
    """Return what tells two pieces of work apart that run at once: the thread and the task."""
    try:
        task = asyncio.current_task()
    except RuntimeError:
        task = None
    return threading.get_ident(), id(task) if task is not None else 0
