"""Blocks of rows as Arrow columns, without an object per row. Pure.

A row's text is what Postgres writes for a record: ``(,a,"b c",)``. The brackets stand in columns of
their own and are left out, so that what is left is CSV with doubled backslashes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import zstandard

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from workbench_server.reading.blocks import Block

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
    "effect", "quality", "order", "mode", "match_level",
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

_PACKED = ("payload", "body")
_MOST_UNPACKED = 2 * 2**20
_FROM_2000_TO_1970_US = 946_684_800_000_000
_NEVER = 2**63 - 1


def batches(block: Block, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Yield the block's rows with the columns of a schema, in batches of a bounded size."""
    packed = next((name for name in schema.names if name in _PACKED), None)
    found = _lines(block["lines"], schema, sized=packed is not None)
    found |= {name: _times(block[name]) for name in schema.names if name in _TIMES}
    if packed is None:
        yield _batch(found, schema)
        return
    for start, texts in _unpacked(block["packed"], found["size"].to_numpy()):
        part = {name: column.slice(start, len(texts)) for name, column in found.items()}
        yield _batch(part | {packed: texts}, schema)


def _batch(columns: dict[str, Any], schema: pa.Schema) -> pa.RecordBatch:
    return pa.record_batch([columns[name] for name in schema.names], schema=schema)


def _lines(text: bytes, schema: pa.Schema, *, sized: bool) -> dict[str, pa.Array]:
    """Return the columns that stand in the lines, in the schema's order."""
    types = {
        field.name: field.type for field in schema if field.name not in (*_TIMES, *_PACKED)
    } | ({"size": pa.int64()} if sized else {})
    table = pyarrow.csv.read_csv(
        pa.py_buffer(text),
        pyarrow.csv.ReadOptions(
            column_names=["opens", *types, "closes"],
            use_threads=False,
            block_size=len(text) + 1,
        ),
        pyarrow.csv.ParseOptions(newlines_in_values=True, escape_char="\\"),
        pyarrow.csv.ConvertOptions(
            column_types=types,
            include_columns=list(types),
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            check_utf8=False,
        ),
    )
    return {name: table[name].chunk(0) for name in types}


def _times(data: bytes) -> pa.Array:
    """Return times that Postgres sent: microseconds since 2000, and infinity for none."""
    since_2000 = np.frombuffer(data, ">i8").astype(np.int64)
    none = since_2000 == _NEVER
    return pa.array(since_2000 + np.where(none, 0, _FROM_2000_TO_1970_US), mask=none).cast(_TIME)


def _unpacked(frames: bytes, sizes: NDArray[np.int64]) -> Iterator[tuple[int, pa.StringArray]]:
    """Yield (place of the first, texts), no more of them at once than memory should hold."""
    view, ends = memoryview(frames), np.cumsum(sizes)
    begins = ends - sizes
    lengths = np.array(
        [
            zstandard.frame_content_size(view[begin:end])
            for begin, end in zip(begins.tolist(), ends.tolist(), strict=True)
        ],
        np.int64,
    )
    bounds = np.cumsum(lengths)
    start = 0
    while start < len(sizes):
        most = bounds[start] - lengths[start] + _MOST_UNPACKED
        stop = max(start + 1, int(np.searchsorted(bounds, most, side="right")))
        yield start, _texts(view[begins[start] : ends[stop - 1]], lengths[start:stop])
        start = stop


def _texts(frames: memoryview, lengths: NDArray[np.int64]) -> pa.StringArray:
    """Return what zstd frames hold that lie one behind the other."""
    offsets = np.zeros(len(lengths) + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    data = pa.decompress(frames, int(offsets[-1]), codec="zstd")
    return pa.StringArray.from_buffers(len(lengths), pa.py_buffer(offsets), data)
