"""The columns of every frame: name → polars type, in order.

``*_at`` are UTC with microseconds, ``*_ms`` milliseconds, ``*_usd`` US dollars. JSON texts are
canonical wb1. Hashes are hex, except ``content_hash``, a signed integer.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

Columns = Mapping[str, pl.DataType | type[pl.DataType]]
_TIME = pl.Datetime("us", "UTC")

EVENTS: Columns = {
    "seq": pl.Int64,
    "event_type": pl.String,
    "version": pl.Int64,
    "writer": pl.String,
    "writer_seq": pl.Int64,
    "step_id": pl.String,
    "parent_step_id": pl.String,
    "attempt_of": pl.String,
    "kind": pl.String,
    "name": pl.String,
    "lane": pl.String,
    "ordinal": pl.Int64,
    "status": pl.String,
    "started_at": _TIME,
    "duration_ms": pl.Float64,
    "input_tokens": pl.Int64,
    "input_uncached": pl.Int64,
    "cache_read": pl.Int64,
    "cache_write": pl.Int64,
    "output_tokens": pl.Int64,
    "reasoning_tokens": pl.Int64,
    "cost_usd": pl.Float64,
    "effect": pl.String,
    "quality": pl.String,
    "order": pl.String,
    "mode": pl.String,
    "match_level": pl.String,
    "digest": pl.String,
    "signature": pl.String,
    "content_hash": pl.Int64,
    "payload": pl.String,
    "received_at": _TIME,
}
"""One row per event in order of ``seq``; ``payload`` is the body's JSON text."""

TIMELINE: Columns = {
    name: EVENTS[name]
    for name in (
        "seq",
        "event_type",
        "step_id",
        "parent_step_id",
        "attempt_of",
        "kind",
        "name",
        "lane",
        "ordinal",
        "status",
        "started_at",
        "duration_ms",
        "input_tokens",
        "output_tokens",
        "cost_usd",
        "effect",
        "quality",
        "order",
        "mode",
        "match_level",
    )
}
"""The narrow columns of events: what steps and a timeline are made of."""

STEPS: Columns = {
    "seq": pl.Int64,
    "ended_seq": pl.Int64,
    "step_id": pl.String,
    "parent_step_id": pl.String,
    "kind": pl.String,
    "name": pl.String,
    "lane": pl.String,
    "ordinal": pl.Int64,
    "status": pl.String,
    "started_at": _TIME,
    "start_ms": pl.Float64,
    "duration_ms": pl.Float64,
    "input_tokens": pl.Int64,
    "output_tokens": pl.Int64,
    "cost_usd": pl.Float64,
    "effect": pl.String,
    "quality": pl.String,
    "mode": pl.String,
    "match_level": pl.String,
    "order": pl.String,
    "attempt_of": pl.String,
    "error": pl.String,
}
"""One row per step or call in order of ``seq``, its start; in flight: ``running``.

``start_ms`` counts from the start of the run. ``error`` is the exception as one line.
"""

CALLS: Columns = {
    **STEPS,
    "signature": pl.String,
    "content_hash": pl.Int64,
    "request": pl.String,
    "outcome": pl.String,
    "exception": pl.String,
}
"""One row per call: the steps that have a kind, with request, outcome and exception as JSON."""

RUNS: Columns = {
    "run_id": pl.String,
    "name": pl.String,
    "agent": pl.String,
    "source": pl.String,
    "session": pl.String,
    "labels": pl.String,
    "mode": pl.String,
    "parent_run_id": pl.String,
    "forked_at": pl.Int64,
    "edits_hash": pl.String,
    "supersedes": pl.String,
    "superseded_by": pl.String,
    "status": pl.String,
    "health": pl.String,
    "created_at": _TIME,
    "started_at": _TIME,
    "ended_at": _TIME,
    "duration_ms": pl.Float64,
    "events": pl.Int64,
    "steps": pl.Int64,
    "calls": pl.Int64,
    "model_calls": pl.Int64,
    "tool_calls": pl.Int64,
    "tool_errors": pl.Int64,
    "errors": pl.Int64,
    "input_tokens": pl.Int64,
    "output_tokens": pl.Int64,
    "cost_known_usd": pl.Float64,
    "cost_usd": pl.Float64,
    "unknown_cost_parts": pl.Int64,
}
"""One row per run, newest first; ``labels`` is a JSON object as text, ``{}`` without labels."""

SESSIONS: Columns = {
    "session": pl.String,
    "runs": pl.Int64,
    "running": pl.Int64,
    "waiting": pl.Int64,
    "done": pl.Int64,
    "failed": pl.Int64,
    "cancelled": pl.Int64,
    "diverged": pl.Int64,
    "lost": pl.Int64,
    "messages": pl.Int64,
    "messages_runs": pl.Int64,
    "model_calls": pl.Int64,
    "tool_calls": pl.Int64,
    "tool_errors": pl.Int64,
    "errors": pl.Int64,
    "input_tokens": pl.Int64,
    "output_tokens": pl.Int64,
    "cost_known_usd": pl.Float64,
    "cost_usd": pl.Float64,
    "unknown_cost_parts": pl.Int64,
    "unknown_cost_runs": pl.Int64,
    "duration_ms": pl.Float64,
    "duration_mean_ms": pl.Float64,
    "duration_p50_ms": pl.Float64,
    "duration_p95_ms": pl.Float64,
    "duration_runs": pl.Int64,
    "confidence_mean": pl.Float64,
    "confidence_runs": pl.Int64,
    "first_at": _TIME,
    "last_at": _TIME,
}
"""One row per session: its runs that nothing supersedes, by status, and what they come to.

``cost_usd`` is null where any part is unknown. ``*_runs`` say of how many runs a figure is known:
``messages`` once a worker has read them, ``duration_*`` once they have ended, ``confidence_mean``
where the label ``confidence`` is a number.
"""

ARTIFACTS: Columns = {
    "run_id": pl.String,
    "seq": pl.Int64,
    "sha256": pl.String,
    "media_type": pl.String,
    "size": pl.Int64,
    "entity_type": pl.String,
    "tags": pl.List(pl.String),
    "created_at": _TIME,
    "stored": pl.Boolean,
}
"""One row per artifact a run made, newest first; ``stored`` says whether its bytes came as well."""


def fitted(frame: pl.DataFrame, columns: Columns) -> pl.DataFrame:
    """Return the frame with exactly these columns, in this order and of these types.

    Examples
    --------
    >>> frame = pl.DataFrame({"seq": [1], "more": [2]})
    >>> fitted(frame, {"seq": pl.Int64, "kind": pl.String}).columns
    ['seq', 'kind']
    """
    present = set(frame.columns)
    return frame.select(
        (pl.col(name) if name in present else pl.lit(None)).cast(kind).alias(name)
        for name, kind in columns.items()
    )
