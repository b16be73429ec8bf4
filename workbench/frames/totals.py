"""A run's row computed from its events, as the server keeps it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import polars as pl

from workbench.frames.columns import RUNS
from workbench.frames.root import root_body
from workbench.hashing import dumps

if TYPE_CHECKING:
    from workbench.schema import RunHeader

_COUNTED = (
    "event_type",
    "writer",
    "kind",
    "status",
    "started_at",
    "duration_ms",
    "input_tokens",
    "output_tokens",
    "cost_usd",
)


def run_row(header: RunHeader, events: pl.DataFrame) -> dict[str, Any]:
    """Return the run's row with the columns `RUNS`.

    Parameters
    ----------
    header
        What was said of the run when it was created.
    events
        All its events, with the columns `EVENTS` or those that `countable` gives.

    Returns
    -------
    dict
        ``cost_usd`` is null where any part is unknown: a model call (or a simulated human's, where
        it used tokens) without a cost, or with cost 0 although tokens were used, unless the label
        ``cost_local`` says that tokens are free.
    """
    said = msgspec.to_builtins(header)
    kept = {name: value for name, value in header.labels.items() if value is not None}
    said["labels"] = dumps(kept).decode()
    row = said | _times(events) | _counts(events, header) | _state(events)
    return {name: row.get(name) for name in RUNS}


def countable(events: pl.DataFrame) -> pl.DataFrame:
    """Return what `run_row` reads of events and no more, for who keeps nothing else of them."""
    read = (pl.col("event_type") == "run_ended") | (pl.col("kind") == "human")
    return events.select(*_COUNTED, pl.when(read).then("payload").alias("payload"))


def _times(events: pl.DataFrame) -> dict[str, Any]:
    begun = _first(events, "run_started", "started_at")
    over = _first(events, "run_ended", "started_at")
    # a clock that stepped back in between cannot say how long it took
    is_ordered = begun and over and over >= begun
    measured = (over - begun).total_seconds() * 1000 if is_ordered else None
    said = _first(events, "run_ended", "duration_ms")
    return {
        "created_at": begun or events["started_at"].min(),
        "started_at": begun,
        "ended_at": over,
        "duration_ms": measured if said is None else said,
    }


def _first(events: pl.DataFrame, event_type: str, column: str) -> Any:
    found = events.filter(pl.col("event_type") == event_type)[column].drop_nulls()
    return found[0] if len(found) else None


def _counts(events: pl.DataFrame, header: RunHeader) -> dict[str, Any]:
    kind, event_type = pl.col("kind"), pl.col("event_type")
    started, ended = event_type == "call_started", event_type == "call_ended"
    failed = pl.col("status") == "error"
    cost = pl.col("cost_usd")
    unknown = ended & _is_unknown(free=str(header.labels.get("cost_local")).lower() == "true")
    counted = events.select(
        events=pl.len(),
        steps=(started | (event_type == "step_started")).sum(),
        calls=started.sum(),
        model_calls=(started & (kind == "model")).sum(),
        tool_calls=(started & (kind == "tool")).sum(),
        tool_errors=(ended & (kind == "tool") & failed).sum(),
        errors=(event_type.is_in(["call_ended", "step_ended"]) & failed).sum(),
        input_tokens=pl.col("input_tokens").filter(ended).sum(),
        output_tokens=pl.col("output_tokens").filter(ended).sum(),
        cost_known_usd=cost.filter(ended).sum(),
        unknown_cost_parts=unknown.sum(),
    ).row(0, named=True)
    known = counted["cost_known_usd"] if not counted["unknown_cost_parts"] else None
    return counted | {"cost_usd": known}


def _is_unknown(*, free: bool) -> pl.Expr:
    tokens = pl.col("input_tokens").fill_null(0) + pl.col("output_tokens").fill_null(0)
    usage = pl.col("payload").str.json_path_match("$.usage").fill_null("{}") != "{}"
    priced = (pl.col("kind") == "model") | ((pl.col("kind") == "human") & (usage | (tokens > 0)))
    cost = pl.col("cost_usd")
    return priced & (cost.is_null() | ((cost == 0) & (tokens > 0) & (not free)))


def _state(events: pl.DataFrame) -> dict[str, Any]:
    announced = root_body(events, "run_ended").get("writers") or {}
    delivered = dict(events.group_by("writer").len().iter_rows())
    short = any(delivered.get(writer, 0) < last for writer, last in announced.items())
    return {"status": _status(events), "health": "gap" if short else "ok"}


def _status(events: pl.DataFrame) -> str:
    ended = _first(events, "run_ended", "status")
    if ended is not None:
        return str(ended)
    moves = events["event_type"].filter(events["event_type"].is_in(["interrupted", "resumed"]))
    return "waiting" if len(moves) and moves[-1] == "interrupted" else "running"
