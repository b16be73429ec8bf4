"""A folder of exported runs, on disk or in an object store: read-only, no service needed."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, NoReturn, Self, Unpack

import fsspec
import orjson
import polars as pl
import pyarrow.parquet as pq

from workbench import frames
from workbench.errors import ArtifactNotFound, MalformedFile, ReadOnly, Unavailable
from workbench.store import exported, filters, lookup, manifest
from workbench.store.foreign import reading
from workbench.store.run import Run

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from types import TracebackType

    from workbench.errors import WorkbenchError
    from workbench.schema import Event, RunHeader, RunPatch
    from workbench.store.batches import Parcel
    from workbench.store.filters import RunFilter
    from workbench.store.protocol import (
        ArtifactFilter,
        Body,
        Declared,
        EventColumns,
        Receipt,
        RunWriter,
    )

_AT_ONCE = 1_000  # messages
CERTIFICATE = "certificate.json"
COLUMNS: dict[str, frames.Columns] = {
    "runs.parquet": frames.RUNS,
    "events.parquet": {"run_id": pl.String, **frames.EVENTS},
    "bodies.parquet": {"run_id": pl.String, "digest": pl.String, "body": pl.String},
}
"""The columns of each file; ``body`` is the message as JSON text."""

_Bound = tuple[str, str, Any]
_IS = {"==": operator.eq, ">": operator.gt, "<": operator.lt}


class FolderStore:
    """A folder of exported runs; see `workbench.store.read`."""

    read_only = True
    workspace_id = "export"

    def __init__(self, address: str, *, verify: bool = False) -> None:
        self.address = address
        try:
            self._files, root = fsspec.core.url_to_fs(address)
        except (ValueError, ImportError, OSError) as error:
            raise Unavailable(
                "this is no address of a store",
                where=address,
                found=str(error),
                hint="A store is http(s)://…, a folder of exported runs, or s3://bucket/prefix.",
            ) from error
        self._root = str(root).rstrip("/")
        with reading(self.path_of(manifest.NAME), store=address):
            self.contents = manifest.load(self._files, self._root, verify=verify)
        self._check_columns()
        self._runs = self._table("runs.parquet", frames.RUNS).sort(
            "created_at", "run_id", descending=True
        )

    def __repr__(self) -> str:
        return f"<Store {self.address}: {self._runs.height} exported runs>"

    def runs(self, *, limit: int | None = None, **wanted: Unpack[RunFilter]) -> pl.DataFrame:
        """Return the runs, newest first; see `workbench.store.Store.runs`."""
        return filters.filtered(self._runs, filters.checked(wanted), limit=limit)

    def sessions(
        self, *, session: str | None = None, sort: str | None = None, limit: int | None = None
    ) -> pl.DataFrame:
        """Return sessions, the last active first; see `workbench.store.Store.sessions`."""
        return exported.sessions(self._runs, session=session, sort=sort, limit=limit)

    def artifacts(
        self, *, limit: int | None = None, **wanted: Unpack[ArtifactFilter]
    ) -> pl.DataFrame:
        """Return what runs made, newest first; see `workbench.store.Store.artifacts`."""
        runs = [Run(self, row) for row in self._runs.iter_rows(named=True)]
        return exported.artifacts(runs, wanted, limit=limit)

    def manifest(self, run: Run | str) -> dict[str, Any]:
        """Return what a run consists of; see `workbench.store.Store.manifest`."""
        return exported.manifest(run if isinstance(run, Run) else self.run(run))

    def cancel(self, run: Run | str, *, reason: str | None = None) -> dict[str, Any]:  # noqa: ARG002
        """Refuse: the folder is read-only."""
        self._refuse()

    def run(self, wanted: str) -> Run:
        """Return the run with this id, unique beginning of an id, or source."""
        return Run(self, lookup.find(self._runs, wanted))

    def row(self, run_id: str) -> dict[str, Any]:
        """Return a run's row."""
        return lookup.find(self._runs, run_id)

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
        """Return a run's events by ``seq``; see `workbench.store.Store.events`."""
        wanted = frames.EVENTS if columns == "all" else frames.TIMELINE
        last = after is None and before is not None
        # as a rule no seq is left out, and so many are found among as many
        near = None if limit is None or last else (after or 0) + limit + 1
        bounds = [("seq", ">", after), ("seq", "<", before)]
        found = self._table(
            "events.parquet", wanted, run_id=run_id, bounds=[*bounds, ("seq", "<", near)]
        )
        if near is not None and found.height < (limit or 0):
            found = self._table("events.parquet", wanted, run_id=run_id, bounds=bounds)
        found = found.sort("seq")
        if limit is not None:
            found = found.tail(limit) if last else found.head(limit)
        return found.filter(pl.col("status").is_in(frames.FAILED)) if failed else found

    def bodies(self, run_id: str) -> dict[str, Body]:
        """Return digest → message body."""
        pool = self._table("bodies.parquet", COLUMNS["bodies.parquet"], run_id=run_id)
        return {digest: orjson.loads(text) for _, digest, text in pool.iter_rows()}

    def messages(self, run_id: str) -> Iterator[tuple[str, bytes]]:
        """Give digest and body of every message the run names; see `workbench.store.Store`."""
        where = self.path_of("bodies.parquet")
        with reading(where, store=self.address):
            file = pq.ParquetFile(where, filesystem=self._files)
            groups = _groups_of(file.metadata, run_id)
            columns = list(COLUMNS["bodies.parquet"])
            for batch in file.iter_batches(_AT_ONCE, row_groups=groups, columns=columns):
                rows = zip(*(column.to_pylist() for column in batch.columns), strict=True)
                yield from ((digest, body.encode()) for run, digest, body in rows if run == run_id)

    def sql(self, query: str) -> pl.DataFrame:
        """Run a query over ``runs``, ``events`` and ``messages`` in this process's DuckDB."""
        from workbench.store import query as engine

        return engine.over_folder(self, query)

    def path_of(self, name: str) -> str:
        """Return where a file of the export lies, for its own file system."""
        return f"{self._root}/{name}"

    @property
    def files(self) -> fsspec.AbstractFileSystem:
        """The file system the export lies in."""
        return self._files

    @property
    def certificate(self) -> bytes | None:
        """The certificate that lies beside the files of the export, if one does."""
        try:
            return bytes(self._files.cat_file(self.path_of(CERTIFICATE)))
        except FileNotFoundError:
            return None

    def get_artifact(self, sha256: str) -> bytes:
        """Refuse: an export holds no artifacts."""
        raise ArtifactNotFound("an export holds no artifacts", where=self.address, wanted=sha256)

    def declare(self, header: RunHeader) -> Declared:  # noqa: ARG002 - the protocol's signature
        """Refuse: the folder is read-only."""
        self._refuse()

    def create_run(self, header: RunHeader) -> str:  # noqa: ARG002 - the protocol's signature
        """Refuse: the folder is read-only."""
        self._refuse()

    def append(
        self,
        run_id: str,  # noqa: ARG002 - the protocol's signature
        events: Iterable[Event],  # noqa: ARG002
        bodies: Mapping[str, Body] | None = None,  # noqa: ARG002
    ) -> Receipt:
        """Refuse: the folder is read-only."""
        self._refuse()

    def store_runs(self, parcel: Parcel) -> list[Receipt | WorkbenchError]:  # noqa: ARG002
        """Refuse: the folder is read-only."""
        self._refuse()

    def patch(self, run_id: str, change: RunPatch) -> dict[str, Any]:  # noqa: ARG002
        """Refuse: the folder is read-only."""
        self._refuse()

    def put_artifact(self, data: bytes) -> str:  # noqa: ARG002
        """Refuse: the folder is read-only."""
        self._refuse()

    def writer(self, header: RunHeader) -> RunWriter:  # noqa: ARG002
        """Refuse: the folder is read-only."""
        self._refuse()

    def close(self) -> None:
        """Nothing is open."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _refuse(self) -> NoReturn:
        raise ReadOnly(
            "exported runs cannot be changed",
            where=self.address,
            hint="import them with `workbench import workbench DIR`, or open a server",
        )

    def _check_columns(self) -> None:
        for name, columns in COLUMNS.items():
            where = self.path_of(name)
            with reading(where, store=self.address):
                found = set(pq.read_schema(where, filesystem=self._files).names)
            if missing := sorted(columns.keys() - found):
                raise MalformedFile("the file lacks columns", where=where, expected=missing)

    def _table(
        self,
        name: str,
        columns: frames.Columns,
        *,
        run_id: str | None = None,
        bounds: Iterable[_Bound] = (),
    ) -> pl.DataFrame:
        filters = [one for one in [("run_id", "==", run_id), *bounds] if one[2] is not None]
        with reading(self.path_of(name), store=self.address):
            return frames.fitted(self._scanned(name, list(columns), filters), columns)

    def _scanned(self, name: str, columns: list[str], filters: list[_Bound]) -> pl.DataFrame:
        # rows are sorted by run, so row-group statistics skip the other runs
        if isinstance(self._files, fsspec.implementations.local.LocalFileSystem):
            scan = pl.scan_parquet(self.path_of(name), glob=False)
            kept = [_IS[sign](pl.col(column), value) for column, sign, value in filters]
            return scan.filter(*kept).select(columns).collect()
        path = self.path_of(name)
        table = pq.read_table(
            path, filesystem=self._files, columns=columns, filters=filters or None
        )
        return pl.DataFrame(pl.from_arrow(table))


def _groups_of(metadata: pq.FileMetaData, run_id: str) -> list[int]:
    """Return the row groups that may hold rows of a run."""
    column = metadata.schema.names.index("run_id")
    found = []
    for number in range(metadata.num_row_groups):
        told = metadata.row_group(number).column(column).statistics
        if told is None or not told.has_min_max or told.min <= run_id <= told.max:
            found.append(number)
    return found
