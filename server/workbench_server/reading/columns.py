"""Blocks of rows as Arrow columns, without an object per row. Pure.

A row's text is what Postgres writes for a record: ``(,a,"b c",)``. The brackets stand in
columns of their own and are left out, so that what is left is CSV with doubled backslashes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.csv
import zstandard

if TYPE_CHECKING:
    from collections.abc import Iterator

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

_PACKED = ("payload", "body")
_MOST_UNPACKED = 16 * 2**20


def batches(block: Block, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Yield the block's rows with the columns of a schema, in batches of a bounded size."""
    packed = next((name for name in schema.names if name in _PACKED), None)
    if packed is None:
        yield from _table(block, schema).to_batches()
        return
    light = _table(block, schema.remove(schema.get_field_index(packed)).append(_SIZE))
    sizes = light["size"].to_numpy()
    for start, texts in _unpacked(block.payloads, sizes):
        rows = light.slice(start, len(texts)).drop_columns("size").append_column(packed, texts)
        yield from rows.select(schema.names).combine_chunks().to_batches()


_SIZE = pa.field("size", pa.int64())


def _table(block: Block, schema: pa.Schema) -> pa.Table:
    names = [*schema.names]
    return pyarrow.csv.read_csv(
        pa.py_buffer(block.lines),
        pyarrow.csv.ReadOptions(
            column_names=["opens", *names, "closes"],
            use_threads=False,
            block_size=len(block.lines) + 1,
        ),
        pyarrow.csv.ParseOptions(newlines_in_values=True, escape_char="\\"),
        pyarrow.csv.ConvertOptions(
            column_types={field.name: field.type for field in schema},
            include_columns=names,
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            check_utf8=False,
        ),
    )


def _unpacked(payloads: bytes, sizes: np.ndarray) -> Iterator[tuple[int, pa.StringArray]]:
    """Yield (place of the first, texts), no more of them at once than memory should hold."""
    ends = np.cumsum(sizes)
    view = memoryview(payloads)
    lengths = np.array(
        [
            zstandard.frame_content_size(view[end - size : end])
            for end, size in zip(ends.tolist(), sizes.tolist(), strict=True)
        ],
        np.int64,
    )
    bound = np.cumsum(lengths)
    start = 0
    while start < len(sizes):
        before = int(bound[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(bound, before + _MOST_UNPACKED, side="right")))
        frames = view[ends[start] - sizes[start] : ends[stop - 1]]
        yield start, _texts(frames, lengths[start:stop])
        start = stop


def _texts(frames: memoryview, lengths: np.ndarray) -> pa.StringArray:
    offsets = np.zeros(len(lengths) + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    data = pa.decompress(frames, int(offsets[-1]), codec="zstd")
    return pa.StringArray.from_buffers(len(lengths), pa.py_buffer(offsets), data)
