"""The two Merkle roots of a run (REPLAY.md, certificate)."""

from __future__ import annotations

from collections import defaultdict

import orjson
import polars as pl

from workbench import hashing
from workbench.frames.pairs import calls


def log_root(events: pl.DataFrame) -> str:
    """Return the root over all event digests: the integrity of this very recording."""
    rows = events.select("writer", "writer_seq", "digest").iter_rows()
    return hashing.log_root(rows)


def content_root(events: pl.DataFrame) -> str:
    """Return the root over what was asked and what came back, lane by lane.

    It holds no time, writer, id or mode. A call in flight counts with what came back null.
    """
    return hashing.content_root(content_lanes(calls(events)))


def content_lanes(calls: pl.DataFrame) -> dict[str, list[tuple[str, str]]]:
    """Return lane → (signature, sha-256 of outcome or exception), in order of ``ordinal``."""
    lanes: dict[str, list[tuple[str, str]]] = defaultdict(list)
    rows = calls.sort("ordinal", "seq", nulls_last=True).select(
        "lane", "signature", pl.coalesce("outcome", "exception").alias("came_back")
    )
    for lane, signature, came_back in rows.iter_rows():
        lanes[lane or "root"].append((signature or "", _hash(came_back)))
    return dict(lanes)


def _hash(text: str | None) -> str:
    return hashing.digest_of(None if text is None else orjson.loads(text))
