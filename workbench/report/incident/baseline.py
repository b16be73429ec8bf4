"""Which run to compare with: a successful one of the same agent and task, nearest in time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from workbench.report.verdict import OUTCOME_LABELS, labels_of, verdict

if TYPE_CHECKING:
    from datetime import datetime

_TASK_LABELS = ("intent", "suite", "domain", "task", "task_id", "user_task", "user_task_id")
_LOOKED_INTO = 25
_CLEAN = (None, "", "none", False)

Row = Mapping[str, Any]


def nearest(
    row: Row, rows: Sequence[Row], others: Sequence[Row], *, asked_the_same: Callable[[Row], bool]
) -> tuple[Row | None, str]:
    """Return the baseline and, in words, why it was chosen or why there is none.

    Parameters
    ----------
    row
        The run in question.
    rows
        Every run of the same agent.
    others
        Every run of other agents, asked only where no run of the same agent will do.
    asked_the_same
        Whether a run had the same input as the one in question; asked of the nearest only.
    """
    good = [other for other in rows if other["run_id"] != row["run_id"] and _successful(other)]
    same = _nearest_first(row, good)
    task = _task_in_words(row)
    if not same:
        found = f"{len(good)} of {len(rows)} runs of this agent succeeded, none of them with {task}"
        return _of_another_agent(row, others, found)
    twin = next((other for other in same[:_LOOKED_INTO] if asked_the_same(other)), None)
    if twin is not None:
        return twin, f"the nearest successful run with the same input, and {task}"
    troubled = _nearest_first(row, [o for o in rows if o["status"] == "done" and o not in good])
    twin = next((o for o in troubled[:_LOOKED_INTO] if o != row and asked_the_same(o)), None)
    if twin is not None:
        reasons = " and ".join(verdict(twin).reasons)
        return twin, f"the nearest run with the same input, though it went wrong too ({reasons})"
    if len(same) == 1:
        return same[0], f"the only successful run with {task}"
    return same[0], f"the nearest of {len(same)} successful runs with {task}"


def _of_another_agent(row: Row, others: Sequence[Row], found: str) -> tuple[Row | None, str]:
    good = [other for other in others if _task(row) and _successful(other)]
    same = _nearest_first(row, good)
    if not same:
        return None, found
    return same[0], f"a successful run of another agent ({same[0]['agent']}), for {found}"


def _nearest_first(row: Row, rows: Sequence[Row]) -> list[Row]:
    same = [other for other in rows if _same_task(row, other)]
    return sorted(same, key=lambda other: _likeness(row, other), reverse=True)


def _successful(row: Row) -> bool:
    judged = verdict(row)
    return row["status"] == "done" and not judged.bad


def _task(row: Row) -> dict[str, Any]:
    labels = labels_of(row)
    return {key: labels[key] for key in _TASK_LABELS if labels.get(key) is not None}


def _task_in_words(row: Row) -> str:
    task = _task(row)
    if task:
        return "the same " + ", ".join(f"{key.replace('_', ' ')} ({v})" for key, v in task.items())
    return f"the same name ({row['name']})" if row.get("name") else "the same agent"


def _same_task(row: Row, other: Row) -> bool:
    task = _task(row)
    if task:
        return task == _task(other)
    return row.get("name") == other.get("name")


def _likeness(row: Row, other: Row) -> tuple[bool, int, bool, float, str]:
    """Clean before attacked, then by equal labels, then earlier before later, then by nearness."""
    mine, theirs = (
        {k: v for k, v in labels_of(r).items() if k not in OUTCOME_LABELS} for r in (row, other)
    )
    clean = all(theirs.get(key) in _CLEAN for key in ("attack", "attack_type", "injection"))
    agree = sum(theirs.get(key) == value for key, value in mine.items())
    at, then = row.get("started_at"), other.get("started_at")
    earlier = bool(at and then and then < at)
    return clean, agree, earlier, -_apart(at, then), other["run_id"]


def _apart(a: datetime | None, b: datetime | None) -> float:
    return abs((a - b).total_seconds()) if a and b else 0.0
