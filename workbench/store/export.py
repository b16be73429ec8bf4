"""Write runs as a folder of Parquet files, all of it or nothing."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fsspec
import msgspec
import polars as pl

from workbench import frames, hashing
from workbench.errors import Conflict, UsageError
from workbench.recording import Pool
from workbench.store import manifest
from workbench.store.folder import COLUMNS
from workbench.store.ids import new_run_id
from workbench.store.parts import ROWS_PER_GROUP, PartWriter
from workbench.store.run import Run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from workbench.schema import Event, RunHeader
    from workbench.store.protocol import Body

_INDEXED = {"run_id", "seq", "kind", "digest"}
_AT_ONCE = 2_000  # events or messages, of which a frame is made: few enough to be still at hand


def export(
    runs: Iterable[Run],
    folder: str | Path,
    *,
    overwrite: bool = False,
    each: Callable[[Run], None] | None = None,
) -> Path:
    """Write runs with their events and message bodies as one exported folder.

    Parameters
    ----------
    runs
        The runs; a run given twice is written once.
    folder
        A folder that does not exist yet or is empty; with ``overwrite`` also an earlier export.
    each
        Called with each run when it is written; its frames are at hand then.

    Returns
    -------
    pathlib.Path
        The folder. Equal runs give equal bytes.

    Raises
    ------
    UsageError
        There is no run.
    Conflict
        The folder holds something already.
    """
    ordered = sorted({run.run_id: run for run in runs}.items())
    if not ordered:
        raise UsageError("there is no run to export")
    with new_folder(folder, overwrite=overwrite) as (target, parts):
        for _, run in ordered:
            # a run of its own, because the caller's would keep all its frames in memory
            passing = Run(run.store, run.info)
            if each:
                _ = passing.events, passing.bodies()  # read once, for both
            parts.put(passing)
            if each:
                each(passing)
    return target


def writer(folder: str | Path, header: RunHeader, *, overwrite: bool = False) -> FolderWriter:
    """Return what gathers one new run and writes it as an exported folder when it is closed."""
    return FolderWriter(folder, header, overwrite=overwrite)


class FolderWriter:
    """See `writer`. ``seq`` is given in the order of arrival; a repeated event is ignored.

    What fills a row group is written, to where nobody looks for it: of a long run, too, no more is
    kept than that, and what its row is computed from. The folder appears when it is closed.
    """

    def __init__(self, folder: str | Path, header: RunHeader, *, overwrite: bool = False) -> None:
        self.folder = Path(folder)
        _refuse_existing(self.folder, overwrite=overwrite)
        self.run_id = header.run_id or new_run_id()
        self._header = msgspec.structs.replace(header, run_id=self.run_id)
        self._overwrite = overwrite
        self._arrived = _Arrived()
        self._waiting: list[Event] = []
        self._frames: list[pl.DataFrame] = []
        self._gathered, self._written = 0, 0  # events: in frames, and of these in the file
        self._totals = frames.Totals(self._header)
        self._pool = Pool()
        self._building = contextlib.ExitStack()
        self._parts: Parts | None = None
        self._broken: BaseException | None = None
        self._closed = False

    def append(self, events: Sequence[Event], bodies: Mapping[str, Body] | None = None) -> None:
        """Add events, and the message bodies they are the first to name."""
        with self._whole_or_nothing():
            for digest, body in (bodies or {}).items():
                if digest not in self._pool:
                    self._pool.put(digest, hashing.dumps(body))
            self._waiting += [
                event if event.digest else hashing.sealed(event)
                for event in events
                if self._arrived.is_new(event)
            ]
            if len(self._waiting) >= _AT_ONCE:
                self._gather()
            if self._gathered - self._written >= ROWS_PER_GROUP:
                self._write()

    def close(self) -> None:
        """Write the folder; a second call does nothing."""
        if self._closed:
            return
        self._closed = True
        with self._whole_or_nothing():
            self._gather()
            self._write().put_run(self._totals.row(), self._pool)
            self._building.close()

    def _gather(self) -> None:
        """Make a frame of what waits: of a part of the run, while it is at hand."""
        begins = self._gathered + 1
        frame = frames.from_events(self._waiting).with_columns(
            seq=pl.int_range(begins, begins + pl.len(), dtype=pl.Int64)
        )
        self._waiting = []
        self._totals.add(frame)
        self._frames.append(frame)
        self._gathered += frame.height

    def _write(self) -> Parts:
        if self._parts is None:
            opened = new_folder(self.folder, overwrite=self._overwrite)
            _, self._parts = self._building.enter_context(opened)
        for frame in self._frames:
            self._parts.put_events(self.run_id, frame)
        self._frames, self._written = [], self._gathered
        return self._parts

    @contextlib.contextmanager
    def _whole_or_nothing(self) -> Iterator[None]:
        """Take away what was written where some of it cannot be; nothing is written from then on.

        What is left behind by a writer that is never closed goes away with it.
        """
        if self._broken is not None:
            raise self._broken
        try:
            yield
        except BaseException as error:
            self._broken = error
            self._building.__exit__(type(error), error, error.__traceback__)
            raise


class _Arrived:
    """Which events of each writer have come: as a rule one after the other."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}  # of each writer, up to which none is missing
        self._ahead: set[tuple[str, int]] = set()

    def is_new(self, event: Event) -> bool:
        """Take note of an event, and say whether it is the first of its writer and number."""
        writer, number = event.writer, event.writer_seq
        last = self._last.get(writer, 0)
        if number <= last or (writer, number) in self._ahead:
            return False
        self._ahead.add((writer, number))
        while (writer, last + 1) in self._ahead:
            last += 1
            self._ahead.remove((writer, last))
        self._last[writer] = last
        return True


class Parts:
    """The three files of an export that is being written."""

    def __init__(self, folder: Path, stack: contextlib.ExitStack) -> None:
        self._runs, self._events, self._bodies = (
            stack.enter_context(
                PartWriter(folder / name, columns=columns, indexed=_INDEXED & columns.keys())
            )
            for name, columns in COLUMNS.items()
        )
        self.count = 0

    def put(self, run: Run) -> None:
        """Add one run: its events, bodies and row."""
        for page in run.pages():
            self.put_events(run.run_id, page)
        self.put_run(run.info, run.pool())

    def put_events(self, run_id: str, events: pl.DataFrame) -> None:
        """Add events of a run, whose row and bodies come when it has all of them."""
        self._events.add(events.with_columns(run_id=pl.lit(run_id)))

    def put_run(self, row: dict[str, Any], bodies: Mapping[str, Body]) -> None:
        """Add a run's row and bodies."""
        run_id = str(row["run_id"])
        self.count += 1
        self._runs.add(pl.DataFrame([row], schema=frames.RUNS))
        digests = sorted(bodies)
        for begin in range(0, len(digests), _AT_ONCE):
            some = digests[begin : begin + _AT_ONCE]
            told = {
                "run_id": [run_id] * len(some),
                "digest": some,
                "body": [hashing.dumps(bodies[digest]).decode() for digest in some],
            }
            self._bodies.add(pl.DataFrame(told, schema=COLUMNS["bodies.parquet"]))


@contextlib.contextmanager
def new_folder(folder: str | Path, *, overwrite: bool) -> Iterator[tuple[Path, Parts]]:
    """Give the parts of an export; the folder appears, complete, when the block ends well."""
    target = Path(folder).absolute()
    _refuse_existing(target, overwrite=overwrite)
    target.parent.mkdir(parents=True, exist_ok=True)
    owner = os.getpid()
    building = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        with contextlib.ExitStack() as stack:
            parts = Parts(building, stack)
            yield target, parts
        _write_manifest(building, runs=parts.count)
        # mkdtemp makes 0700, an export is an ordinary folder
        building.chmod(0o777 & ~_umask())
        _refuse_existing(target, overwrite=overwrite)  # another may have come there meanwhile
        _put_in_place(building, target)
    finally:
        if os.getpid() == owner:  # and not a process that was forked from it, and ends
            shutil.rmtree(building, ignore_errors=True)


def _write_manifest(folder: Path, *, runs: int) -> None:
    local = fsspec.filesystem("file")
    said: dict[str, Any] = {
        "format": manifest.FORMAT,
        "version": manifest.VERSION,
        "runs": runs,
        "files": {name: manifest.sha256_of(local, str(folder / name)) for name in manifest.FILES},
    }
    (folder / manifest.NAME).write_bytes(msgspec.json.format(msgspec.json.encode(said)) + b"\n")


def _put_in_place(building: Path, target: Path) -> None:
    if not target.exists() or not any(target.iterdir()):
        building.rename(target)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    target.rename(old / "old")
    building.rename(target)
    shutil.rmtree(old)


def _refuse_existing(target: Path, *, overwrite: bool) -> None:
    if ":/" in str(target):
        raise UsageError(
            "an export is written to a folder of this machine",
            found=str(target),
            hint="write it to a folder, copy that to the object store, and open it there",
        )
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    if not target.is_dir() or not (target / manifest.NAME).exists():
        raise Conflict(
            "this is not an export, so it is not replaced",
            where=str(target),
            hint="name a folder that does not exist",
        )
    if not overwrite:
        raise Conflict(
            "the folder holds an export already",
            where=str(target),
            hint="--overwrite (overwrite=True) replaces it",
        )


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
