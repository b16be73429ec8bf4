"""Rows as JSON, written piece by piece."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from workbench_server.reading.aside import aside
from workbench_server.reading.columns import BODIES, batches

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator

    import pyarrow as pa

    from workbench_server.reading.blocks import Block

_encoder = msgspec.json.Encoder()
_ROWS = 250


async def events(blocks: AsyncIterator[Block], schema: pa.Schema) -> AsyncIterator[bytes]:
    """Yield ``{"events": […]}``."""
    yield b'{"events":['
    async for text in _joined(blocks, schema, _events):
        yield text
    yield b"]}"


async def bodies(blocks: AsyncIterator[Block]) -> AsyncIterator[bytes]:
    """Yield ``{digest: message}``."""
    yield b"{"
    async for text in _joined(blocks, BODIES, _bodies):
        yield text
    yield b"}"


async def _joined(
    blocks: AsyncIterator[Block], schema: pa.Schema, write: Callable[[pa.RecordBatch], bytes]
) -> AsyncIterator[bytes]:
    begun = False
    async for block in blocks:
        texts = _texts(block, schema, write)
        while text := await aside(next, texts, b""):
            yield b"," + text if begun else text
            begun = True


def _texts(
    block: Block, schema: pa.Schema, write: Callable[[pa.RecordBatch], bytes]
) -> Iterator[bytes]:
    for batch in batches(block, schema):
        for start in range(0, batch.num_rows, _ROWS):
            yield write(batch.slice(start, _ROWS))


def _rows(batch: pa.RecordBatch) -> Iterator[tuple[Any, ...]]:
    return zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _events(batch: pa.RecordBatch) -> bytes:
    names = batch.schema.names
    return b",".join(_encoder.encode(_event(zip(names, row, strict=True))) for row in _rows(batch))


def _event(row: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Return the event as it was sent: what was not said is left out."""
    said = {name: value for name, value in row if value is not None}
    if "payload" in said:
        said["payload"] = msgspec.Raw(said["payload"].encode())
    return said


def _bodies(batch: pa.RecordBatch) -> bytes:
    return b",".join(b'"%b":%b' % (digest.encode(), body.encode()) for digest, body in _rows(batch))
