"""Rows as an Arrow IPC stream: columns, so that no reader builds one object per event."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import zstandard

from workbench_server.reading.pages import body_pages, event_pages

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from workbench_server.reading.pages import Rows, Wanted

_decompressor = zstandard.ZstdDecompressor()
_BYTES = frozenset({"payload", "body"})
_TIME = pa.timestamp("us", tz="UTC")
_INTS = (
    "seq", "writer_seq", "input_tokens", "input_uncached", "cache_read", "cache_write",
    "output_tokens", "reasoning_tokens", "content_hash", "ordinal", "version",
)  # fmt: skip
_FLOATS = ("duration_ms", "cost_usd")
_TIMES = ("started_at", "received_at")
_TEXTS = (
    "event_type", "writer", "step_id", "parent_step_id", "attempt_of", "kind", "name", "lane",
    "status", "effect", "quality", "order", "mode", "match_level", "digest", "signature", "payload",
)  # fmt: skip
_TIMELINE = (
    "seq", "event_type", "step_id", "parent_step_id", "attempt_of", "kind", "name", "lane",
    "ordinal", "status", "started_at", "duration_ms", "input_tokens", "output_tokens", "cost_usd",
    "mode", "match_level",
)  # fmt: skip
_TYPES = (
    dict.fromkeys(_INTS, pa.int64())
    | dict.fromkeys(_FLOATS, pa.float64())
    | dict.fromkeys(_TIMES, _TIME)
    | dict.fromkeys(_TEXTS, pa.string())
)
EVENTS = pa.schema([pa.field(name, _TYPES[name]) for name in sorted(_TYPES)])
TIMELINE = pa.schema([pa.field(name, _TYPES[name]) for name in _TIMELINE])
BODIES = pa.schema([pa.field("digest", pa.string()), pa.field("body", pa.string())])


async def events(wanted: Wanted, *, after: int) -> AsyncIterator[bytes]:
    """Yield the stream of a run's events."""
    stream = _Stream(TIMELINE if wanted.narrow else EVENTS)
    async for rows in event_pages(wanted, after=after):
        yield stream.write(rows)
    yield stream.close()


async def bodies(wanted: Wanted) -> AsyncIterator[bytes]:
    """Yield the stream of a run's messages."""
    stream = _Stream(BODIES)
    async for rows in body_pages(wanted):
        yield stream.write(rows)
    yield stream.close()


class _Stream:
    """Turns pages of rows into record batches, and gives the bytes written since."""

    def __init__(self, schema: pa.Schema) -> None:
        self._schema = schema
        self._buffer = io.BytesIO()
        self._writer = pa.ipc.new_stream(self._buffer, schema)

    def write(self, rows: Rows) -> bytes:
        for row in rows:
            for name in _BYTES & row.keys():
                row[name] = _decompressor.decompress(row[name])
        columns = [column(rows, field) for field in self._schema]
        self._writer.write_batch(pa.record_batch(columns, schema=self._schema))
        return self._written()

    def close(self) -> bytes:
        self._writer.close()
        return self._written()

    def _written(self) -> bytes:
        data = self._buffer.getvalue()
        self._buffer.seek(0)
        self._buffer.truncate()
        return data


def column(rows: Rows, field: Any) -> pa.Array:
    """Return one column of the rows; bytes are JSON text."""
    values = [row[field.name] for row in rows]
    if field.name in _BYTES:
        return pa.array(values, pa.binary()).cast(pa.string())
    return pa.array(values, field.type)
