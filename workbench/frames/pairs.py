"""Steps and calls: the start and the end of each, paired by ``step_id``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from workbench.frames import bodies
from workbench.frames.columns import CALLS, STEPS, fitted

if TYPE_CHECKING:
    from datetime import datetime

FAILED = ("error", "cancelled")
"""The statuses of an end that may tell what was raised."""

_STARTS = ("step_started", "call_started")
_LONGEST_MS = 1e12
_ENDS = ("step_ended", "call_ended")
_RAISED = '"exception"'
_ALREADY_PAIRED = ("seq", "status", "started_at", "duration_ms", "effect", "order")


def steps(events: pl.DataFrame, *, begun: datetime | None = None) -> pl.DataFrame:
    """Return one row per step of a run, with the columns `STEPS`.

    Parameters
    ----------
    events
        Events of one run, with the columns `EVENTS`. Of the payloads only those that tell of a
        failure are looked at.
    begun
        When the run began, where its first event is not among them.

    Returns
    -------
    polars.DataFrame
        In order of ``seq``. A step without its end is ``running``. An end whose start was never
        delivered is a row too, with its own ``seq`` in both columns.
    """
    raised = pl.col("status").is_in(FAILED) & pl.col("payload").str.contains(_RAISED, literal=True)
    light = events.with_columns(payload=pl.when(raised).then("payload"))
    return fitted(_paired(light, begun).with_columns(error=_error()), STEPS)


def calls(events: pl.DataFrame) -> pl.DataFrame:
    """Return one row per call of a run, with the columns `CALLS`, in order of ``seq``."""
    paired = _paired(events).filter(pl.col("kind").is_not_null())
    came_back = bodies.outcomes(paired["ended_payload"])
    request = bodies.requests(paired["payload"], paired["step_id"])
    return fitted(paired.with_columns(request, *came_back, error=_error()), CALLS)


def _paired(events: pl.DataFrame, begun: datetime | None = None) -> pl.DataFrame:
    """Join starts and ends; every column of a pair stands under its own name."""
    starts = events.filter(pl.col("event_type").is_in(_STARTS))
    ends = events.filter(pl.col("event_type").is_in(_ENDS)).rename(lambda name: f"ended_{name}")
    ends = ends.unique("ended_step_id", keep="first", maintain_order=True)
    joined = starts.join(
        ends, left_on="step_id", right_on="ended_step_id", how="full", coalesce=True
    )
    both = [
        name
        for name in STEPS
        if name in events.columns and name not in ("step_id", *_ALREADY_PAIRED)
    ]
    return (
        joined.with_columns(
            pl.coalesce("seq", "ended_seq").alias("seq"),
            pl.col("ended_status").fill_null("running").alias("status"),
            pl.coalesce("started_at", _start_by_the_end()).alias("started_at"),
            pl.coalesce("ended_duration_ms", "duration_ms", _elapsed()).alias("duration_ms"),
            pl.coalesce("effect", "ended_effect").alias("effect"),
            pl.coalesce("order", "ended_order").alias("order"),
            pl.coalesce("signature", "ended_signature").alias("signature"),
            pl.coalesce("ended_content_hash", "content_hash").alias("content_hash"),
            *(pl.coalesce(f"ended_{name}", name).alias(name) for name in both),
        )
        .with_columns(start_ms=_ms(pl.col("started_at") - _run_start(events, begun)))
        .sort("seq")
    )


def _run_start(events: pl.DataFrame, begun: datetime | None) -> pl.Expr:
    said = events.filter(pl.col("event_type") == "run_started")["started_at"].drop_nulls()
    first = said[0] if len(said) else begun or events["started_at"].min()
    return pl.lit(first, dtype=pl.Datetime("us", "UTC"))


def _start_by_the_end() -> pl.Expr:
    lasted = pl.col("ended_duration_ms").fill_null(0.0)
    # a duration of centuries is a mistake, and would leave the years a date can have
    sane = pl.when(lasted.is_between(0, _LONGEST_MS)).then(lasted)
    return pl.col("ended_started_at") - pl.duration(microseconds=(sane * 1000).cast(pl.Int64))


def _elapsed() -> pl.Expr:
    took = _ms(pl.col("ended_started_at") - pl.col("started_at"))
    # a clock that stepped back in between cannot say how long it took
    return pl.when(took >= 0).then(took)


def _ms(span: pl.Expr) -> pl.Expr:
    return span.dt.total_microseconds() / 1000.0


def _error() -> pl.Expr:
    """One line: ``Class: message`` of the exception, the class without its module."""
    told = pl.col("ended_payload").str.contains(_RAISED, literal=True)
    raised = pl.when(pl.col("ended_status").is_in(FAILED) & told).then(pl.col("ended_payload"))
    kind = raised.str.json_path_match("$.exception.class").str.replace(r"^.*:", "")
    message = raised.str.json_path_match("$.exception.message").replace("", None)
    return pl.when(kind.is_not_null()).then(
        pl.concat_str([kind, message], separator=": ", ignore_nulls=True)
    )
