"""A run's row computed from its events, as the server keeps it."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec
import polars as pl

from workbench.frames.columns import RUNS
from workbench.frames.root import root_body
from workbench.hashing import dumps

if TYPE_CHECKING:
    from workbench.schema import RunHeader


def run_row(header: RunHeader, events: pl.DataFrame) -> dict[str, Any]:
    """Return the run's row with the columns `RUNS`.

    Parameters
    ----------
    header
        What was said of the run when it was created.
    events
        All its events, with the columns `EVENTS`.

    Returns
    -------
    dict
        ``cost_usd`` is null where any part is unknown: a model call (or a simulated human's, where
        it used tokens) without a cost, or with cost 0 although tokens were used, unless the label
        ``cost_local`` says that tokens are free.
    """
    totals = Totals(header)
    totals.add(events)
    return totals.row()


class Totals:
    """Gathers what `run_row` tells, of events that come in pieces and in their order."""

    def __init__(self, header: RunHeader) -> None:
        self._header = header
        self._free = str(header.labels.get("cost_local")).lower() == "true"
        self._begun: Any = None
        self._over: Any = None
        self._duration_ms: float | None = None
        self._earliest: Any = None
        self._counts: Counter[str] = Counter(dict.fromkeys(_COUNTED, 0))
        self._costs = array("d")
        self._delivered: Counter[str] = Counter()
        self._announced: dict[str, int] | None = None
        self._status: str | None = None
        self._last_move: str | None = None

    def add(self, events: pl.DataFrame) -> None:
        """Take the next events, with the columns `EVENTS`."""
        self._begun = self._begun or _first(events, "run_started", "started_at")
        self._over = self._over or _first(events, "run_ended", "started_at")
        if self._duration_ms is None:
            self._duration_ms = _first(events, "run_ended", "duration_ms")
        moments = (self._earliest, events["started_at"].min())
        self._earliest = min((one for one in moments if one is not None), default=None)
        self._counts.update(_counted(events, free=self._free))
        costs = events.filter(event_type="call_ended")["cost_usd"].drop_nulls()
        self._costs.extend(costs.to_list())
        self._delivered.update(dict(events.group_by("writer").len().iter_rows()))
        if self._announced is None and len(events.filter(event_type="run_ended")):
            self._announced = root_body(events, "run_ended").get("writers") or {}
        self._status = self._status or _first(events, "run_ended", "status")
        moves = events["event_type"].filter(events["event_type"].is_in(["interrupted", "resumed"]))
        self._last_move = moves[-1] if len(moves) else self._last_move

    def row(self) -> dict[str, Any]:
        """Return the row, as far as the events were taken."""
        said = msgspec.to_builtins(self._header)
        kept = {name: value for name, value in self._header.labels.items() if value is not None}
        said["labels"] = dumps(kept).decode()
        cost = math.fsum(self._costs)  # the same in whatever pieces the events came
        known = None if self._counts["unknown_cost_parts"] else cost
        row = said | self._times() | self._counts | self._state()
        row |= {"cost_known_usd": cost, "cost_usd": known}
        return {name: row.get(name) for name in RUNS}

    def _times(self) -> dict[str, Any]:
        begun, over = self._begun, self._over
        # a clock that stepped back in between cannot say how long it took
        is_ordered = begun and over and over >= begun
        measured = (over - begun).total_seconds() * 1000 if is_ordered else None
        return {
            "created_at": begun or self._earliest,
            "started_at": begun,
            "ended_at": over,
            "duration_ms": measured if self._duration_ms is None else self._duration_ms,
        }

    def _state(self) -> dict[str, Any]:
        announced = (self._announced or {}).items()
        short = any(self._delivered[writer] < last for writer, last in announced)
        waits = self._last_move == "interrupted"
        status = self._status or ("waiting" if waits else "running")
        return {"status": status, "health": "gap" if short else "ok"}


def _first(events: pl.DataFrame, event_type: str, column: str) -> Any:
    found = events.filter(pl.col("event_type") == event_type)[column].drop_nulls()
    return found[0] if len(found) else None


_COUNTED = (
    "events", "steps", "calls", "model_calls", "tool_calls", "tool_errors", "errors",
    "input_tokens", "output_tokens", "unknown_cost_parts",
)  # fmt: skip


def _counted(events: pl.DataFrame, *, free: bool) -> dict[str, Any]:
    kind, event_type = pl.col("kind"), pl.col("event_type")
    started, ended = event_type == "call_started", event_type == "call_ended"
    failed = pl.col("status") == "error"
    return events.select(
        events=pl.len(),
        steps=(started | (event_type == "step_started")).sum(),
        calls=started.sum(),
        model_calls=(started & (kind == "model")).sum(),
        tool_calls=(started & (kind == "tool")).sum(),
        tool_errors=(ended & (kind == "tool") & failed).sum(),
        errors=(event_type.is_in(["call_ended", "step_ended"]) & failed).sum(),
        input_tokens=pl.col("input_tokens").filter(ended).sum(),
        output_tokens=pl.col("output_tokens").filter(ended).sum(),
        unknown_cost_parts=(ended & _is_unknown(free=free)).sum(),
    ).row(0, named=True)


def _is_unknown(*, free: bool) -> pl.Expr:
    tokens = pl.col("input_tokens").fill_null(0) + pl.col("output_tokens").fill_null(0)
    usage = pl.col("payload").str.json_path_match("$.usage").fill_null("{}") != "{}"
    priced = (pl.col("kind") == "model") | ((pl.col("kind") == "human") & (usage | (tokens > 0)))
    cost = pl.col("cost_usd")
    return priced & (cost.is_null() | ((cost == 0) & (tokens > 0) & (not free)))
