"""Rows as an Arrow IPC stream."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Literal

import pyarrow as pa

from workbench_server.reading.aside import aside
from workbench_server.reading.columns import batches

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from workbench_server.reading.blocks import Block

Compression = Literal["none", "lz4"]

_SMALL = 2**16


async def stream(
    blocks: AsyncIterator[Block], schema: pa.Schema, *, compression: Compression = "none"
) -> AsyncIterator[bytes]:
    """Yield the blocks' rows with the columns of a schema."""
    writer = _Stream(schema, compression)
    async for block in blocks:
        rows = batches(block, schema)
        while part := await _written(writer, rows, small=len(block["lines"]) < _SMALL):
            yield part
    yield writer.close()


async def _written(writer: _Stream, rows: Iterator[pa.RecordBatch], *, small: bool) -> bytes:
    return writer.write(rows) if small else await aside(writer.write, rows)


class _Stream:
    """Writes record batches, and gives the bytes written since."""

    def __init__(self, schema: pa.Schema, compression: Compression) -> None:
        self._buffer = io.BytesIO()
        options = pa.ipc.IpcWriteOptions(
            compression=None if compression == "none" else compression, use_threads=False
        )
        self._writer = pa.ipc.new_stream(self._buffer, schema, options=options)

    def write(self, rows: Iterator[pa.RecordBatch]) -> bytes:
        """Write the next batch; no bytes where there is none left."""
        batch = next(rows, None)
        if batch is None:
            return b""
        self._writer.write_batch(batch)
        return self._written()

    def close(self) -> bytes:
        self._writer.close()
        return self._written()

    def _written(self) -> bytes:
        data = self._buffer.getvalue()
        self._buffer.seek(0)
        self._buffer.truncate()
        return data
