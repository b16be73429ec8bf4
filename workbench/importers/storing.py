"""Runs go into a store, a few at a time; what is there already stays as it is."""

from __future__ import annotations

import threading
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import msgspec

from workbench.errors import Conflict, LimitExceeded, SchemaError, SequenceError
from workbench.schema import ENDED_STATUSES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from workbench.formats import Counts
    from workbench.importers.summary import Summary
    from workbench.schema import Event, RunHeader
    from workbench.store import Store

_WORKERS = 4
_WAITING = 4 * _WORKERS
_OF_THE_RUN = (SchemaError, SequenceError, LimitExceeded, Conflict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A run to be stored, its header with id and source; ``file`` and ``line`` are for errors."""

    header: RunHeader
    events: Sequence[Event]
    bodies: Mapping[str, dict[str, Any]]
    file: str
    line: int | None = None


class Storing:
    """Stores runs by a few threads and counts what became of them.

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
        self._pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix="workbench-import")
        self._running: set[Future[None]] = set()
        self._lock = threading.Lock()
        self._ended: dict[str, bool] = {}
        self._by_source: dict[str, str] = {}
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

    def put(self, ready: Ready) -> None:
        """Store a run soon; waits while many are on their way."""
        header = ready.header
        if header.run_id is None or self.has(header.run_id):
            return
        exists = header.run_id in self._ended
        self._ended[header.run_id] = True
        replaces = False
        if header.source is not None:
            older = self._by_source.get(header.source, header.run_id)
            replaces = not exists and older != header.run_id
            self._by_source[header.source] = header.run_id
        if replaces:
            header = msgspec.structs.replace(header, supersedes=older)
        if len(self._running) >= _WAITING:
            self._collect(wait(self._running, return_when=FIRST_COMPLETED).done)
        self._running.add(
            self._pool.submit(self._store, header, ready, exists=exists, replaces=replaces)
        )

    def _store(self, header: RunHeader, ready: Ready, *, exists: bool, replaces: bool) -> None:
        try:
            if not exists:
                self.store.create_run(header)
            receipt = self.store.append(str(header.run_id), ready.events, ready.bodies)
        except _OF_THE_RUN as error:
            with self._lock:
                self.summary.skip(ready.file, error, line=ready.line)
            return
        if exists and not receipt.accepted:
            return
        with self._lock:
            self.summary.stored += 1
            self.summary.changed += replaces

    def flush(self) -> None:
        """Wait until everything that was put is stored."""
        self._collect(wait(self._running).done)

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
