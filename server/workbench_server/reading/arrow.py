"""Events and messages as an Arrow IPC stream."""

from __future__ import annotations

import asyncio
import io
from typing import TYPE_CHECKING, Literal

import pyarrow as pa

from workbench_server.reading.blocks import body_blocks, event_blocks
from workbench_server.reading.columns import BODIES, EVENTS, TIMELINE, batches

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from workbench_server.reading.blocks import Block, Wanted

Compression = Literal["none", "lz4"]

_SMALL = 2**16


async def events(
    wanted: Wanted, seqs: range, *, compression: Compression = "none"
) -> AsyncIterator[bytes]:
    """Yield the stream of a run's events."""
    schema = TIMELINE if wanted.columns == "timeline" else EVENTS
    async for part in _stream(event_blocks(wanted, seqs), schema, compression):
        yield part


async def bodies(wanted: Wanted, *, compression: Compression = "none") -> AsyncIterator[bytes]:
    """Yield the stream of a run's messages."""
    async for part in _stream(body_blocks(wanted), BODIES, compression):
        yield part


async def _stream(
    blocks: AsyncIterator[Block], schema: pa.Schema, compression: Compression
) -> AsyncIterator[bytes]:
    stream = _Stream(schema, compression)
    async for block in blocks:
        rows = batches(block, schema)
        small = len(block.lines) + len(block.payloads) < _SMALL
        while part := stream.write(rows) if small else await asyncio.to_thread(stream.write, rows):
            yield part
    yield stream.close()


class _Stream:
    """Writes record batches, and gives the bytes written since."""

    def __init__(self, schema: pa.Schema, compression: Compression) -> None:
        self._buffer = io.BytesIO()
        options = pa.ipc.IpcWriteOptions(compression=None if compression == "none" else compression)
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
