"""The Parquet files of an export, written run by run with flat memory."""

from __future__ import annotations

import os
import weakref
from typing import TYPE_CHECKING, Self

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from workbench.frames import Columns

ROWS_PER_GROUP = 20_000
_LEVEL = 3


class PartWriter:
    """One Parquet file in row groups of 20,000 rows, whatever pieces the rows come in.

    Equal rows in equal order give equal bytes. Only ``indexed`` columns get statistics: that is
    what readers skip row groups by.
    """

    def __init__(self, path: Path, *, columns: Columns, indexed: set[str]) -> None:
        self._columns = columns
        self._pending: list[pl.DataFrame] = []
        self._rows = 0
        self._writer = pq.ParquetWriter(
            path,
            _arrow(pl.DataFrame(schema=columns)).schema,
            compression="zstd",
            compression_level=_LEVEL,
            write_statistics=sorted(indexed),
        )
        _open.add(self)

    def disown(self) -> None:
        """Leave the file to the process that this one was forked from, and write no end to it."""
        self._writer.is_open = False

    def add(self, frame: pl.DataFrame) -> None:
        """Append the rows of a frame."""
        self._pending.append(frame.select(list(self._columns)))
        self._rows += frame.height
        if self._rows >= ROWS_PER_GROUP:
            self._flush()

    def _flush(self, *, last: bool = False) -> None:
        if self._rows:
            frame = pl.concat(self._pending, rechunk=True)
            whole = frame.height if last else frame.height // ROWS_PER_GROUP * ROWS_PER_GROUP
            self._writer.write_table(_arrow(frame[:whole]), row_group_size=ROWS_PER_GROUP)
            self._pending, self._rows = [frame[whole:]], frame.height - whole

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None and self._writer.is_open:
                self._flush(last=True)
        finally:
            self._writer.close()


def _arrow(frame: pl.DataFrame) -> pa.Table:
    return frame.to_arrow(compat_level=pl.CompatLevel.oldest())


_open: weakref.WeakSet[PartWriter] = weakref.WeakSet()


def _disown() -> None:
    for part in list(_open):
        part.disown()


os.register_at_fork(after_in_child=_disown)
