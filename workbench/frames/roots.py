"""The two Merkle roots of a run (REPLAY.md, certificate)."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import orjson
import polars as pl

from workbench import hashing
from workbench.frames.pairs import calls

_TOLD = ("lane", "step_id", "kind", "name", "status", "signature", "outcome", "exception")


def log_root(events: pl.DataFrame) -> str:
    """Return the root over all event digests: the integrity of this very recording."""
    rows = events.select("writer", "writer_seq", "digest").iter_rows()
    return hashing.log_root(rows)


def content_root(events: pl.DataFrame) -> str:
    """Return the root over what was asked and what came of it, lane by lane.

    It holds no time, writer, id or mode.
    """
    return hashing.content_root(content_lanes(events))


def content_lanes(events: pl.DataFrame) -> dict[str, list[tuple[str, str]]]:
    """Return lane → (signature, `workbench.hashing.outcome_hash`), in order of ``ordinal``."""
    lanes: dict[str, list[tuple[str, str]]] = defaultdict(list)
    pieces = _pieces(events)
    # an end alone, whose start was never delivered, is no call that could be asked again
    asked = calls(events).filter(pl.col("seq").ne_missing(pl.col("ended_seq")))
    unsigned = pl.when(pl.col("signature").is_null()).then("request").alias("request")
    told = asked.sort("ordinal", "seq", nulls_last=True).select(*_TOLD, unsigned)
    for call in told.iter_rows(named=True):
        came = hashing.outcome_hash(
            status=call["status"],
            outcome=_parsed(call["outcome"]),
            exception=_parsed(call["exception"]),
            pieces=pieces.get(call["step_id"]),
        )
        lanes[call["lane"] or "root"].append((call["signature"] or _signature(call), came))
    return dict(lanes)


def _pieces(events: pl.DataFrame) -> dict[str, list[Any]]:
    """Return step id → the pieces of its stream, in their order."""
    chunks = events.filter(
        (pl.col("event_type") == "chunk") & pl.col("step_id").is_not_null()
    ).sort("seq")
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for step_id, payload in chunks.select("step_id", "payload").iter_rows():
        found[step_id].append(orjson.loads(payload))
    return {
        step_id: [
            one
            for chunk in sorted(said, key=lambda chunk: chunk["index"])
            for one in chunk.get("pieces") or []
        ]
        for step_id, said in found.items()
    }


def _parsed(text: str | None) -> Any:
    return None if text is None else orjson.loads(text)


def _signature(call: dict[str, Any]) -> str:
    request = _parsed(call["request"]) or {}
    return hashing.signature_of(kind=call["kind"], name=call["name"] or "", request=request)
