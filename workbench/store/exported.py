"""Sessions, manifests and artifacts of exported runs, computed from their frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import polars as pl

from workbench import frames
from workbench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workbench.store.run import Run

_DURATION = pl.col("duration_ms")
_CONFIDENCE = (
    pl.when(pl.col("labels").str.json_path_match("$.confidence").str.contains(r"^-?[0-9]"))
    .then(pl.col("labels").str.json_path_match("$.confidence"))
    .cast(pl.Float64, strict=False)
)
_STATUSES = ("running", "waiting", "done", "failed", "cancelled", "diverged", "lost")
_SUMS = (
    "model_calls", "tool_calls", "tool_errors", "errors", "input_tokens", "output_tokens",
    "cost_known_usd", "unknown_cost_parts",
)  # fmt: skip
_KEYS = ("last_at", "first_at", "session", "runs", "errors", "duration_ms", "cost", "tokens")


def sessions(
    runs: pl.DataFrame, *, session: str | None, sort: str | None, limit: int | None
) -> pl.DataFrame:
    """Return the sessions of a frame of runs, as a server does; messages are not counted."""
    counted = runs.filter(pl.col("session").is_not_null() & pl.col("superseded_by").is_null())
    if session is not None:
        counted = counted.filter(pl.col("session") == session)
    summed = counted.group_by("session").agg(
        pl.len().alias("runs"),
        *((pl.col("status") == status).sum().alias(status) for status in _STATUSES),
        *(pl.col(name).sum() for name in _SUMS),
        (pl.col("unknown_cost_parts") > 0).sum().alias("unknown_cost_runs"),
        pl.when(_DURATION.count() > 0).then(_DURATION.sum()).alias("duration_ms"),
        _DURATION.mean().alias("duration_mean_ms"),
        _DURATION.quantile(0.5, "linear").alias("duration_p50_ms"),
        _DURATION.quantile(0.95, "linear").alias("duration_p95_ms"),
        _DURATION.count().alias("duration_runs"),
        _CONFIDENCE.mean().alias("confidence_mean"),
        _CONFIDENCE.count().alias("confidence_runs"),
        pl.coalesce("started_at", "created_at").min().alias("first_at"),
        pl.coalesce("ended_at", "created_at").max().alias("last_at"),
    )
    known = pl.when(pl.col("unknown_cost_parts") == 0).then("cost_known_usd")
    summed = summed.with_columns(known.alias("cost_usd"), messages_runs=0)
    found = _sorted(frames.fitted(summed, frames.SESSIONS), sort or "last_at")
    return found if limit is None else found.head(limit)


def _sorted(found: pl.DataFrame, sort: str) -> pl.DataFrame:
    key, _, direction = sort.partition(":")
    if key not in _KEYS or direction not in {"", "asc", "desc"}:
        expected = f"{', '.join(_KEYS)}, then :asc or :desc"
        raise UsageError("nothing can be sorted so", expected=expected, found=sort)
    down = (direction or ("asc" if key == "session" else "desc")) == "desc"
    tokens = pl.col("input_tokens") + pl.col("output_tokens")
    by = {"cost": pl.col("cost_usd"), "tokens": tokens}.get(key, pl.col(key))
    return found.sort(by, "session", descending=[down, down], nulls_last=True)


def artifacts_of(run: Run) -> pl.DataFrame:
    """Return what a run made, in order of ``seq``; an export holds none of the bytes."""
    made = run.events.filter(pl.col("event_type") == "artifact_created")
    listed = [
        {"run_id": run.run_id, "seq": seq, "created_at": at, "stored": False, **_body(payload)}
        for seq, at, payload in made.select("seq", "received_at", "payload").iter_rows()
    ]
    columns = {name: [row[name] for row in listed] for name in frames.ARTIFACTS}
    return pl.DataFrame(columns, schema=frames.ARTIFACTS)


def _body(payload: str) -> dict[str, Any]:
    usual = {"media_type": "application/octet-stream", "size": 0, "entity_type": None, "tags": []}
    return {**usual, **orjson.loads(payload)}


def artifacts(runs: list[Run], wanted: Mapping[str, Any], *, limit: int | None) -> pl.DataFrame:
    """Return what runs made, newest first, narrowed as a server does."""
    found = pl.concat([pl.DataFrame(schema=frames.ARTIFACTS), *map(artifacts_of, runs)])
    for name, value in wanted.items():
        if name == "tag":
            tags = [value] if isinstance(value, str) else value
            found = found.filter([pl.col("tags").list.contains(tag) for tag in tags])
        elif value is not None:
            found = found.filter(pl.col(name) == value)
    found = found.sort("created_at", "run_id", "seq", descending=True)
    return found if limit is None else found.head(limit)


def manifest(run: Run) -> dict[str, Any]:
    """Return the manifest of an exported run; what only a server knows is null."""
    made = artifacts_of(run)
    types = made.group_by("entity_type").agg(
        pl.len().alias("count"), pl.col("size").sum().alias("bytes")
    )
    calls = run.events.filter(pl.col("event_type") == "call_started")
    writers = run.events.group_by("writer").agg(pl.col("writer_seq").max().alias("last"))
    return {
        "run_id": run.run_id,
        "status": run.status,
        "health": run.info["health"],
        "events": run.events.height,
        "event_types": _counts(run.events["event_type"]),
        "calls": _counts(calls["kind"].fill_null("none")),
        "writers": [{**row, "final": None} for row in writers.sort("writer").to_dicts()],
        "artifacts": made.to_dicts(),
        "artifact_count": made.height,
        "entity_types": types.sort("entity_type", nulls_last=True).to_dicts(),
        "hashes": {"log_root": run.digest, "header": None, "edits": run.info["edits_hash"]},
    }


def _counts(values: pl.Series) -> dict[str, int]:
    return dict(sorted(values.value_counts().iter_rows()))
