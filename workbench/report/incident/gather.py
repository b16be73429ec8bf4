"""Find the run in question, its baseline and the runs around it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

import polars as pl

from workbench.errors import UsageError
from workbench.report.incident.choice import nearest_run, question, same_agent, typical
from workbench.report.incident.outside import first_outside
from workbench.report.verdict import verdict

if TYPE_CHECKING:
    from workbench.report.incident.outside import Outside
    from workbench.store import Run, Store

SAMPLE = 40
"""At most so many neighbours are read call by call."""


@dataclass(frozen=True, kw_only=True)
class Incident:
    """What a report is about. ``peers`` are the runs of the same agent in the window, its own too.

    ``peers`` has the columns of ``store.runs()``, and ``bad`` and ``reasons`` as `verdict` says.
    """

    store: Store
    run: Run
    chosen: str | None
    baseline: Run | None
    baseline_reason: str
    peers: pl.DataFrame
    window: str
    output: str | None = None

    @property
    def name(self) -> str:
        """What to call the run in a sentence."""
        return self.run.name or self.run.info.get("agent") or self.run.run_id[:8]

    @property
    def agent(self) -> str:
        """What to call the agent in a sentence: ``module:attribute`` without its packages."""
        named = str(self.run.info.get("agent") or self.run.name or "this agent")
        module, colon, attribute = named.partition(":")
        return f"{module.rpartition('.')[2]}:{attribute}" if colon and "-" not in module else named

    @cached_property
    def difference(self) -> Any:
        """The diff from the baseline to the run, or null without a baseline."""
        if self.baseline is None:
            return None
        from workbench.diff import diff

        return diff(self.baseline, self.run)

    @cached_property
    def outside(self) -> Outside | None:
        """What came in differently first though the same was asked."""
        return first_outside(self)

    @cached_property
    def same_question(self) -> bool:
        """Whether run and baseline were asked the same: their first words of a user are equal."""
        return self.baseline is not None and question(self.run) == question(self.baseline)

    @cached_property
    def neighbours(self) -> pl.DataFrame:
        """The calls of the nearest runs of the window, with ``run_id`` and ``bad``."""
        return calls_of(self)


def gather(
    *,
    run: str | None = None,
    since: str | None = None,
    until: str | None = None,
    baseline: str | None = None,
    store: Any = None,
    output: str | None = None,
) -> Incident:
    """Read what the report needs.

    Parameters
    ----------
    run
        Id or source of the run in question; without it the window's most typical bad run.
    since, until
        ISO 8601 times, UTC where they name no zone; ``until`` is not part of the window.
    baseline
        Id or source of the run to compare with; by default a successful one of the same task.
    store
        What `workbench.open` takes, or an open store.
    output
        The folder the report is written to.

    Raises
    ------
    RunNotFound
        There is no such run, or none in the window.
    """
    opened = _opened(store)
    rows = _rows(opened)
    window = rows.filter(_within(since, until))
    if run is None:
        picked, chosen = typical(opened, window, rows, words=_in_words(since, until))
    else:
        picked, chosen = opened.run(run), None
    mine = same_agent(picked)
    peers = window.filter(mine)
    other, reason = _baseline(opened, picked, rows, wanted=baseline)
    return Incident(
        store=opened,
        run=picked,
        chosen=chosen,
        baseline=other,
        baseline_reason=reason,
        peers=_with(peers, rows, picked),
        window=_in_words(since, until),
        output=output,
    )


def _opened(store: Any) -> Store:
    if store is not None and not isinstance(store, str):
        return store  # type: ignore[no-any-return] # an open store is used as it is
    import workbench as wb

    opened: Store = wb.open(store)
    return opened


def _rows(store: Store) -> pl.DataFrame:
    """Read the runs that happened by themselves: no replays, forks or superseded ones."""
    runs = store.runs().filter(
        pl.col("superseded_by").is_null()
        & pl.col("parent_run_id").is_null()
        & pl.col("mode").is_null()
    )
    judged = [verdict(row) for row in runs.iter_rows(named=True)]
    return runs.with_columns(
        pl.Series("bad", [v.bad for v in judged], dtype=pl.Boolean),
        pl.Series("reasons", [list(v.reasons) for v in judged], dtype=pl.List(pl.String)),
    )


def _with(peers: pl.DataFrame, rows: pl.DataFrame, run: Run) -> pl.DataFrame:
    if run.run_id in peers["run_id"]:
        return peers
    return pl.concat([peers, rows.filter(run_id=run.run_id)])


def _within(since: str | None, until: str | None) -> pl.Expr:
    at = pl.coalesce("started_at", "created_at")
    low = pl.lit(True) if since is None else at >= _time(since)
    high = pl.lit(True) if until is None else at < _time(until)
    return low & high


def _time(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(
            "a time is not ISO 8601", found=text, expected="2026-11-20T06:00"
        ) from error
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def _in_words(since: str | None, until: str | None) -> str:
    said = [f"from {since}" if since else None, f"until {until}" if until else None]
    return " ".join(part for part in said if part) or "all runs of the store"


def _baseline(
    store: Store, run: Run, rows: pl.DataFrame, *, wanted: str | None
) -> tuple[Run | None, str]:
    if wanted is not None:
        return store.run(wanted), "named by whoever asked for this report"
    found, reason = nearest_run(store, run, rows)
    return found, reason


def calls_of(found: Incident) -> pl.DataFrame:
    """Read the calls of at most `SAMPLE` runs around the run in question, nearest first."""
    from workbench import frames

    chosen = _nearest_rows(found)
    parts = [
        frames.calls(found.store.events(row["run_id"])).with_columns(
            run_id=pl.lit(row["run_id"]), bad=pl.lit(row["bad"], dtype=pl.Boolean)
        )
        for row in chosen.iter_rows(named=True)
    ]
    empty = found.run.calls.clear().with_columns(
        run_id=pl.lit(None, dtype=pl.String), bad=pl.lit(None, dtype=pl.Boolean)
    )
    return pl.concat([empty, *parts])


def _nearest_rows(found: Incident) -> pl.DataFrame:
    others = found.peers.filter(pl.col("run_id") != found.run.run_id)
    at = found.run.info.get("started_at")
    if at is None:
        return others.head(SAMPLE)
    apart = (pl.col("started_at") - at).abs()
    return others.sort(apart, "run_id", nulls_last=True).head(SAMPLE)
