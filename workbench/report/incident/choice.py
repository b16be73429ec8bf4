"""Which run a report follows, and which one it is compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from workbench.errors import RunNotFound
from workbench.report.incident.baseline import nearest

if TYPE_CHECKING:
    from workbench.store import Run, Store

_TRIED = 8
"""So many runs that ended alike are asked for a successful run with the same input."""


def question(run: Run) -> Any:
    """Return what a run was asked: the words of the first user, else the root's input."""
    said = run.messages.filter(pl.col("role") == "user")["text"].drop_nulls()
    return said[0] if len(said) else run.input


def same_agent(run: Run) -> pl.Expr:
    """Return the condition for rows of the run's agent, or of its name where it has none."""
    column = "agent" if run.info.get("agent") else "name"
    return pl.col(column).eq_missing(pl.lit(run.info.get(column)))


def nearest_run(store: Store, run: Run, rows: pl.DataFrame) -> tuple[Run | None, str]:
    """Return the baseline of a run among the rows, and why."""
    mine, asked = same_agent(run), question(run)
    row, reason = nearest(
        run.info,
        rows.filter(mine).to_dicts(),
        rows.filter(~mine).to_dicts(),
        asked_the_same=lambda other: question(store.run(other["run_id"])) == asked,
    )
    return (None if row is None else store.run(row["run_id"])), reason


def typical(
    store: Store, window: pl.DataFrame, rows: pl.DataFrame, *, words: str
) -> tuple[Run, str]:
    """Pick the run that shows best what went wrong most often, and say why it.

    Of the agent and the reason with the most bad runs it is the shortest that has a successful run
    with the same input to compare with, else the shortest.

    Raises
    ------
    RunNotFound
        There is no run in the window.
    """
    if window.is_empty():
        raise RunNotFound(
            "there is no run to report on",
            where=words,
            hint="Give -p run=ID, or another window with -p since=… -p until=….",
        )
    alike, reason = _alike(window.filter("bad"))
    if alike.is_empty():
        return store.run(window["run_id"][0]), "no run went wrong; this is the newest"
    tried = [store.run(run_id) for run_id in alike["run_id"].head(_TRIED)]
    why = f"the shortest of {alike.height} that ended alike ({reason})"
    for run in tried:
        baseline = nearest_run(store, run, rows)[0]
        if baseline is not None and question(baseline) == question(run):
            return run, f"{why} with a successful run of the same input"
    return tried[0], why


def _alike(bad: pl.DataFrame) -> tuple[pl.DataFrame, str]:
    """Return the bad runs of the most frequent agent and reason, shortest first."""
    first = bad.with_columns(reason=pl.col("reasons").list.first())
    groups = first.group_by("agent", "reason").len()
    if groups.is_empty():
        return first, ""
    agent, reason, _ = groups.sort(["len", "agent", "reason"], descending=[True, False, False]).row(
        0
    )
    alike = first.filter(pl.col("agent").eq_missing(pl.lit(agent)), reason=reason)
    return alike.sort("calls", "run_id", nulls_last=True), str(reason)
