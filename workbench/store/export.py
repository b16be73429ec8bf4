"""Write runs as a folder of Parquet files, all of it or nothing."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections import defaultdict
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
from workbench.store.parts import PartWriter
from workbench.store.run import Run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from workbench.schema import Event, RunHeader
    from workbench.store.protocol import Body

_AT_ONCE = 5_000  # events, messages
_INDEXED = {"run_id", "seq", "kind", "digest"}


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

    A long run is written while it comes, in a hidden folder beside the one it becomes.
    """

    def __init__(self, folder: str | Path, header: RunHeader, *, overwrite: bool = False) -> None:
        self.folder = Path(folder)
        _refuse_existing(self.folder, overwrite=overwrite)
        self.run_id = header.run_id or new_run_id()
        self._totals = frames.Totals(msgspec.structs.replace(header, run_id=self.run_id))
        self._overwrite = overwrite
        self._events: list[Event] = []
        self._pool = Pool()
        self._seen: dict[str, _Seen] = defaultdict(_Seen)
        self._seq = 0
        self._stack = contextlib.ExitStack()
        self._parts: Parts | None = None
        self._closed = False

    def append(self, events: Sequence[Event], bodies: Mapping[str, Body] | None = None) -> None:
        """Add events, and the message bodies they are the first to name."""
        for digest, body in (bodies or {}).items():
            if digest not in self._pool:
                self._pool.put(digest, hashing.dumps(body))
        for event in events:
            if self._seen[event.writer].add(event.writer_seq):
                whole = event if event.digest else hashing.sealed(event)
                self._seq += 1
                self._events.append(msgspec.structs.replace(whole, seq=self._seq))
        if len(self._events) >= _AT_ONCE:
            self._write()

    def _write(self) -> None:
        if self._parts is None:
            folder = new_folder(self.folder, overwrite=self._overwrite)
            _, self._parts = self._stack.enter_context(folder)
        events = frames.from_events(self._events)
        self._totals.add(events)
        self._parts.put_events(self.run_id, events)
        self._events = []

    def close(self) -> None:
        """Write the folder; a second call does nothing."""
        if self._closed:
            return
        self._closed = True
        with self._stack:
            self._write()
            if self._parts is not None:
                self._parts.put_rest(self._totals.row(), self._pool)


class _Seen:
    """The numbers of one writer's events that came: as a rule all up to the last."""

    def __init__(self) -> None:
        self._last = 0
        self._beyond: set[int] = set()

    def add(self, number: int) -> bool:
        """Take a number, and say whether it is new."""
        if number <= self._last or number in self._beyond:
            return False
        self._beyond.add(number)
        while self._last + 1 in self._beyond:
            self._last += 1
            self._beyond.remove(self._last)
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
        """Add one run: its events, its bodies and its row."""
        for page in run.pages():
            self.put_events(run.run_id, page)
        self.put_rest(run.info, run.pool())

    def put_events(self, run_id: str, events: pl.DataFrame) -> None:
        """Add the next events of a run."""
        self._events.add(events.with_columns(run_id=pl.lit(run_id)))

    def put_rest(self, row: dict[str, Any], pool: Mapping[str, Body]) -> None:
        """Add what closes a run: its messages and its row."""
        run_id = str(row["run_id"])
        self.count += 1
        self._runs.add(pl.DataFrame([row], schema=frames.RUNS))
        digests = sorted(pool)
        for begin in range(0, len(digests), _AT_ONCE):
            some = digests[begin : begin + _AT_ONCE]
            self._bodies.add(
                pl.DataFrame(
                    {
                        "run_id": [run_id] * len(some),
                        "digest": some,
                        "body": [hashing.dumps(pool[digest]).decode() for digest in some],
                    },
                    schema=COLUMNS["bodies.parquet"],
                )
            )


@contextlib.contextmanager
def new_folder(folder: str | Path, *, overwrite: bool) -> Iterator[tuple[Path, Parts]]:
    """Give the parts of an export; the folder appears, complete, when the block ends well."""
    target = Path(folder).absolute()
    _refuse_existing(target, overwrite=overwrite)
    target.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        with contextlib.ExitStack() as stack:
            parts = Parts(building, stack)
            yield target, parts
        _write_manifest(building, runs=parts.count)
        # mkdtemp makes 0700, an export is an ordinary folder
        building.chmod(0o777 & ~_umask())
        _put_in_place(building, target)
    finally:
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
