"""The two Merkle roots of a run (REPLAY.md, certificate)."""

from __future__ import annotations

import polars as pl

from workbench import hashing
from workbench.frames.recorded import recorded


def log_root(events: pl.DataFrame) -> str:
    """Return the root over all event digests: the integrity of this very recording."""
    rows = events.select("writer", "writer_seq", "digest").iter_rows()
    return hashing.log_root(rows)


def content_root(events: pl.DataFrame) -> str:
    """Return the root over what was asked and what came of it, lane by lane.

    It holds no time, writer, id or mode.
    """
    said = events.filter(pl.col("event_type").is_in(["call_started", "call_ended", "chunk"]))
    return recorded([said.sort("seq")], {}).content_root
