"""Runs go into a store, many with one request; what is there already stays as it is."""

from __future__ import annotations

import dataclasses
import threading
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import msgspec

from workbench.errors import (
    Conflict,
    LimitExceeded,
    SchemaError,
    SequenceError,
    WorkbenchError,
)
from workbench.schema import ENDED_STATUSES
from workbench.store.batches import Entry, Parcel, encoded
from workbench.store.redacting import SpoolRedaction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from workbench.formats import Counts
    from workbench.importers.summary import Summary
    from workbench.redaction import Layer
    from workbench.schema import Event, RunHeader
    from workbench.store import Receipt, Store

_REQUESTS = 2
_WAITING = _REQUESTS + 1
_REQUEST_BYTES = 2**20
_MOST_RUNS = 500
# A run that is larger goes by itself, in as many requests as it needs.
_MOST_EVENTS = 5_000
_MOST_BYTES = 8 * 2**20
_OF_THE_RUN = (SchemaError, SequenceError, LimitExceeded, Conflict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A run to be stored, its header with id and source; ``file`` and ``line`` are for errors."""

    header: RunHeader
    events: Sequence[Event]
    bodies: Mapping[str, dict[str, Any]]
    file: str
    line: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Placed:
    """A run on its way; ``exists`` is one that an interrupted import left open."""

    header: RunHeader
    ready: Ready
    exists: bool
    replaces: bool


def _redacted(ready: Ready, rules: Layer) -> Ready:
    """Return a run as the workspace's rules have it."""
    redaction = SpoolRedaction(rules)
    events, bodies = redaction.run(ready.events, ready.bodies)
    header = redaction.header(ready.header)
    return dataclasses.replace(ready, header=header, events=events, bodies=bodies)


class Storing:
    """Stores runs by a few requests at a time and counts what became of them.

    What the workspace holds is read once at the beginning. A run whose id is there and ended is
    left alone; one that an interrupted import left open is finished. A run whose source is there
    under another id replaces that one.
    """

    def __init__(
        self, store: Store, summary: Summary, *, progress: Callable[[int], None] | None = None
    ) -> None:
        self.store = store
        self.summary = summary
        self._progress = progress
        self._pool = ThreadPoolExecutor(_REQUESTS, thread_name_prefix="workbench-import")
        self._running: set[Future[None]] = set()
        self._lock = threading.Lock()
        self._ended: dict[str, bool] = {}
        self._by_source: dict[str, str] = {}
        self._on_their_way: set[str] = set()
        self._next: list[_Placed] = []
        self._parcel, self._size = Parcel(), 0
        self._rules: Layer | None = getattr(store, "redaction", lambda: None)()
        self._read_known()

    def _read_known(self) -> None:
        known = self.store.runs().select("run_id", "status", "source", "superseded_by")
        for run_id, status, source, superseded_by in known.iter_rows():
            self._ended[run_id] = status in ENDED_STATUSES
            if source is not None and superseded_by is None:
                self._by_source[source] = run_id

    def count(self, counts: Counts) -> None:
        """Count a run that was read."""
        self.summary.count(counts)
        if self._progress is not None:
            self._progress(self.summary.runs)

    def has(self, run_id: str) -> bool:
        """Say whether a run is there and needs nothing more."""
        return self._ended.get(run_id, False)

    @property
    def redacts(self) -> bool:
        """Whether what is stored may be other than what was read."""
        return self._rules is not None and bool(self._rules.rules)

    def put(self, ready: Ready) -> None:
        """Store a run soon; waits while many are on their way."""
        header, run_id = ready.header, ready.header.run_id
        if run_id is None or self.has(run_id):
            return
        exists = run_id in self._ended
        self._ended[run_id] = True
        if self._rules is not None and self.redacts:
            ready = _redacted(ready, self._rules)
            header = ready.header
        replaces = False
        if header.source is not None:
            older = self._by_source.get(header.source, run_id)
            replaces = not exists and older != run_id
            self._by_source[header.source] = run_id
        if replaces:
            header = msgspec.structs.replace(header, supersedes=older)
        self._on_their_way.add(run_id)
        self._place(_Placed(header=header, ready=ready, exists=exists, replaces=replaces))

    def _place(self, one: _Placed) -> None:
        """Put a run into the next request, or send it by itself."""
        events, bodies, size = encoded(one.ready.events, one.ready.bodies)
        if one.exists or len(events) > _MOST_EVENTS or size > _MOST_BYTES:
            self._submit(self._store_alone, one)
            return
        if self._next and (self._size + size > _REQUEST_BYTES or len(self._next) >= _MOST_RUNS):
            self._send()
        self._next.append(one)
        self._parcel.add(Entry(header=one.header, events=events), bodies)
        self._size += size

    def _send(self) -> None:
        if self._next:
            self._submit(self._store, self._next, self._parcel)
        self._next, self._parcel, self._size = [], Parcel(), 0

    def _submit(self, work: Callable[..., None], *arguments: Any) -> None:
        if len(self._running) >= _WAITING:
            self._collect(wait(self._running, return_when=FIRST_COMPLETED).done)
        self._running.add(self._pool.submit(work, *arguments))

    def _store(self, placed: Sequence[_Placed], parcel: Parcel) -> None:
        """Store the runs of one request; what is too much for the server goes in halves."""
        try:
            receipts = self.store.store_runs(parcel)
        except _OF_THE_RUN:
            if len(placed) == 1:
                self._store_alone(placed[0])
                return
            half = len(placed) // 2
            for part, runs in zip(parcel.parts(), (placed[:half], placed[half:]), strict=True):
                self._store(runs, part)
            return
        for one, receipt in zip(placed, receipts, strict=True):
            self._note(one, receipt)

    def _store_alone(self, one: _Placed) -> None:
        """Make a run, and append its events in as many requests as they need."""
        run_id = str(one.header.run_id)
        try:
            if not one.exists:
                self.store.create_run(one.header)
            receipt = self.store.append(run_id, one.ready.events, one.ready.bodies)
        except _OF_THE_RUN as error:
            self._note(one, error)
        else:
            self._note(one, receipt)

    def _note(self, one: _Placed, outcome: Receipt | WorkbenchError) -> None:
        with self._lock:
            if isinstance(outcome, _OF_THE_RUN):
                self.summary.skip(one.ready.file, outcome, line=one.ready.line)
            elif isinstance(outcome, WorkbenchError):
                raise outcome
            elif outcome.accepted or not one.exists:
                self.summary.stored += 1
                self.summary.changed += one.replaces

    def flush(self, *, before: Iterable[str] | None = None) -> None:
        """Wait until everything that was put is stored, or until these runs are."""
        if before is not None and self._on_their_way.isdisjoint(before):
            return
        self._send()
        self._collect(wait(self._running).done)
        self._on_their_way.clear()

    def _collect(self, done: set[Future[None]]) -> None:
        self._running -= done
        for future in done:
            future.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self.flush()
        finally:
            self._pool.shutdown(cancel_futures=True)
