"""Events and messages as JSON, written piece by piece."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from workbench_server.reading.blocks import body_blocks, event_blocks
from workbench_server.reading.columns import BODIES, EVENTS, TIMELINE, batches

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    import pyarrow as pa

    from workbench_server.reading.blocks import Block, Wanted

_encoder = msgspec.json.Encoder()
_ROWS = 1_000


async def events(wanted: Wanted, seqs: range) -> AsyncIterator[bytes]:
    """Yield ``{"events": […]}``."""
    schema = TIMELINE if wanted.columns == "timeline" else EVENTS
    yield b'{"events":['
    async for text in _joined(event_blocks(wanted, seqs), schema, _events):
        yield text
    yield b"]}"


async def bodies(wanted: Wanted) -> AsyncIterator[bytes]:
    """Yield ``{digest: message}``."""
    yield b"{"
    async for text in _joined(body_blocks(wanted), BODIES, _bodies):
        yield text
    yield b"}"


async def _joined(
    blocks: AsyncIterator[Block], schema: pa.Schema, write: Callable[[pa.RecordBatch], bytes]
) -> AsyncIterator[bytes]:
    begun = False
    async for block in blocks:
        texts = _texts(block, schema, write)
        while text := await asyncio.to_thread(next, texts, None):
            yield b"," + text if begun else text
            begun = True


def _texts(
    block: Block, schema: pa.Schema, write: Callable[[pa.RecordBatch], bytes]
) -> Iterator[bytes]:
    for batch in batches(block, schema):
        for start in range(0, batch.num_rows, _ROWS):
            yield write(batch.slice(start, _ROWS))


def _events(batch: pa.RecordBatch) -> bytes:
    """Return events as they were sent: what was not said is left out."""
    names = batch.schema.names
    rows = zip(*(column.to_pylist() for column in batch.columns), strict=True)
    return b",".join(_encoder.encode(_event(zip(names, row, strict=True))) for row in rows)


def _event(row: Iterator[tuple[str, Any]]) -> dict[str, Any]:
    said = {name: value for name, value in row if value is not None}
    if "payload" in said:
        said["payload"] = msgspec.Raw(said["payload"].encode())
    return said


def _bodies(batch: pa.RecordBatch) -> bytes:
    rows = zip(*(column.to_pylist() for column in batch.columns), strict=True)
    return b",".join(b'"%b":%b' % (digest.encode(), body.encode()) for digest, body in rows)
