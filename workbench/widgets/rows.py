"""Rows inside a lane: a step that overlaps another takes the first free one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST = 6
TOUCH = 1e-3


def place(
    start: NDArray[np.float64], end: NDArray[np.float64], lane: NDArray[np.integer[Any]]
) -> NDArray[np.uint8]:
    """Give each step a row of its lane, counted from 0; past `MOST` rows the last is shared."""
    rows = np.zeros(len(start), np.uint8)
    if not len(start):
        return rows
    order = np.lexsort((-end, start, lane))
    apart = lane[order].astype(np.float64) * (2 * float(end.max()) + 1)
    begins, ends = start[order] + apart, end[order] + apart
    fresh = np.ones(len(order), np.bool_)
    fresh[1:] = begins[1:] >= np.maximum.accumulate(ends)[:-1] - TOUCH
    alone = fresh & np.append(fresh[1:], True)
    crowded = np.flatnonzero(~alone)
    rows[order[crowded]] = _first_free(begins[crowded], ends[crowded], fresh[crowded])
    return rows


def rows_needed(start: NDArray[np.float64], end: NDArray[np.float64]) -> int:
    """Count the rows that `place` would give one lane, without placing: the most that overlap."""
    if not len(start):
        return 1
    order = np.lexsort((-end, start))
    begins = start[order] + TOUCH
    over = np.searchsorted(np.sort(end), begins, side="right")
    itself = end[order] <= begins
    return int(min(MOST, max(1, (np.arange(1, len(start) + 1) - over + itself).max())))


def _first_free(
    begins: NDArray[np.float64], ends: NDArray[np.float64], fresh: NDArray[np.bool_]
) -> list[int]:
    rows: list[int] = []
    taken: list[float] = []
    for begin, end, new in zip(begins.tolist(), ends.tolist(), fresh.tolist(), strict=True):
        if new:
            taken.clear()
        row = next((r for r, until in enumerate(taken) if until <= begin + TOUCH), len(taken))
        if row < len(taken):
            taken[row] = end
        elif row < MOST:
            taken.append(end)
        else:
            row = MOST - 1
            taken[row] = max(taken[row], end)
        rows.append(row)
    return rows
