"""What every store can do, wherever its runs lie."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self, TypedDict, Unpack

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from types import TracebackType

    import polars as pl

    from workbench.errors import WorkbenchError
    from workbench.schema import Event, RunHeader, RunPatch
    from workbench.store.batches import Parcel
    from workbench.store.filters import RunFilter
    from workbench.store.run import Run

Body = dict[str, Any]
EventColumns = Literal["all", "timeline"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What became of a batch: how many events are new, and the seqs they were given."""

    accepted: int
    duplicates: int = 0
    first_seq: int | None = None
    last_seq: int | None = None
    rejected: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """A run that exists from now on; ``redaction`` holds the workspace's rules."""

    run_id: str
    created: bool
    redaction: dict[str, Any] = field(default_factory=dict)


class ArtifactFilter(TypedDict, total=False):
    """What artifacts can be narrowed to; several tags have to be there all."""

    run_id: str | None
    sha256: str | None
    entity_type: str | None
    media_type: str | None
    tag: str | Sequence[str] | None


class RunWriter(Protocol):
    """Appends to one run that it created."""

    run_id: str

    def append(self, events: Sequence[Event], bodies: Mapping[str, Body] | None = None) -> None:
        """Add events, and the message bodies they are the first to name."""

    def close(self) -> None:
        """Finish; what was appended can be read from now on."""


class Store(Protocol):
    """Runs of one workspace.

    ``address`` is what `workbench.open` was given; ``read_only`` stores refuse to write.
    """

    address: str
    read_only: bool

    @property
    def workspace_id(self) -> str:
        """The id of the workspace; of an exported folder ``export``."""

    def runs(self, *, limit: int | None = None, **wanted: Unpack[RunFilter]) -> pl.DataFrame:
        """Return the runs as a frame with the columns `workbench.frames.RUNS`, newest first.

        ``wanted`` narrows and sorts them: `workbench.store.filters.RunFilter` says by what.
        """

    def sessions(
        self, *, session: str | None = None, sort: str | None = None, limit: int | None = None
    ) -> pl.DataFrame:
        """Return sessions with the columns `workbench.frames.SESSIONS`, the last active first.

        ``sort`` is one of ``last_at first_at session runs errors duration_ms cost tokens``, then
        ``:asc`` or ``:desc``; nulls come last.
        """

    def artifacts(
        self, *, limit: int | None = None, **wanted: Unpack[ArtifactFilter]
    ) -> pl.DataFrame:
        """Return what runs made with the columns `workbench.frames.ARTIFACTS`, newest first."""

    def manifest(self, run: Run | str) -> dict[str, Any]:
        """Return what a run consists of: artifacts, counts, writers, hashes and its health."""

    def cancel(self, run: Run | str, *, reason: str | None = None) -> dict[str, Any]:
        """End a run as cancelled and return its row; its recorder is told and stops sending."""

    def run(self, wanted: str) -> Run:
        """Return the run with this id, unique beginning of an id, or ``source``."""

    def row(self, run_id: str) -> dict[str, Any]:
        """Return a run's row as it is now."""

    def events(
        self,
        run_id: str,
        *,
        columns: EventColumns = "all",
        after: int | None = None,
        before: int | None = None,
        limit: int | None = None,
        failed: bool = False,
    ) -> pl.DataFrame:
        """Return a run's events by ``seq``: those between ``after`` and ``before``, without both.

        The columns are `workbench.frames.EVENTS`, or the few of `workbench.frames.TIMELINE`.
        ``limit`` keeps the first events, or the last where only ``before`` is given; ``failed``, of
        all these, what ends a step that failed or was cancelled.
        """

    def bodies(self, run_id: str) -> dict[str, Body]:
        """Return digest → message body of every message the run names."""

    def messages(self, run_id: str) -> Iterator[tuple[str, bytes]]:
        """Give digest and body of every message the run names, the body as JSON text."""

    def sql(self, query: str) -> pl.DataFrame:
        """Run a query over ``runs``, ``events`` and ``messages`` in this process's own DuckDB."""

    def declare(self, header: RunHeader) -> Declared:
        """Create a run, or find that it exists with the same facts."""

    def create_run(self, header: RunHeader) -> str:
        """Create a run and return its id."""

    def append(
        self, run_id: str, events: Iterable[Event], bodies: Mapping[str, Body] | None = None
    ) -> Receipt:
        """Store a batch of events, all of it or nothing."""

    def store_runs(self, parcel: Parcel) -> list[Receipt | WorkbenchError]:
        """Store runs with all their events, each of them whole or not at all.

        Returns
        -------
        list
            In their order what became of each: a receipt, or the error for which it was left out.
        """

    def patch(self, run_id: str, change: RunPatch) -> dict[str, Any]:
        """Change a run's name or labels and return its new row."""

    def put_artifact(self, data: bytes) -> str:
        """Store bytes and return their sha-256."""

    def get_artifact(self, sha256: str) -> bytes:
        """Return the bytes with this sha-256."""

    def writer(self, header: RunHeader) -> RunWriter:
        """Create a run and return what appends to it."""

    def close(self) -> None:
        """Let go of connections."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...
