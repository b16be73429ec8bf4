"""The steps of a run as typed arrays: places in time, lanes and rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from workbench.widgets.kinds import INSIDE, KINDS, STATUSES, STRUCTURE
from workbench.widgets.lanes import Lane, arrange
from workbench.widgets.rows import place

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Codes = NDArray[np.integer[Any]]

UNKNOWN = 0xFFFFFFFF
SLOT = 0.9


@dataclass(frozen=True, kw_only=True)
class Tracks:
    """Steps in order of `seq`; a step's index is its place in that order.

    Times are milliseconds from the start of the run. `took` is NaN while a step runs or where the
    source has no clock; `lane` is the index into `lanes`.
    """

    frame: pl.DataFrame
    start: Floats
    took: NDArray[np.float32]
    kind: NDArray[np.uint8]
    status: NDArray[np.uint8]
    lane: NDArray[np.uint8]
    lanes: list[Lane]
    slot: NDArray[np.int64]
    name: NDArray[np.uint32]
    names: list[str]
    clock: bool
    total: float

    def __len__(self) -> int:
        return len(self.start)

    @cached_property
    def end(self) -> Floats:
        """Where a bar ends: one that still runs goes on to the end of the run."""
        took = self.took.astype(np.float64)
        running = np.isnan(took) & (self.status == STATUSES.index("running"))
        return np.where(running, self.total, self.start + np.nan_to_num(took))

    @cached_property
    def rows(self) -> NDArray[np.uint8]:
        """Row inside the lane: the first that is free; structure takes none."""
        rows = np.zeros(len(self), np.uint8)
        calls = np.flatnonzero(self.kind != STRUCTURE)
        rows[calls] = place(self.start[calls], self.end[calls], self.lane[calls])
        return rows

    @cached_property
    def rows_by_kind(self) -> NDArray[np.uint8]:
        """Row inside the kind's lane."""
        return place(self.start, self.end, self.kind)

    @cached_property
    def failed(self) -> NDArray[np.bool_]:
        """Which steps ended with an error."""
        return np.equal(self.status, STATUSES.index("error"))

    def span(self, by: str) -> float:
        """Length of the whole axis: milliseconds, or steps."""
        return max(self.total, 1e-3) if by == "time" else float(self.slot.max(initial=0) + 1)

    def places(self, by: str) -> tuple[Floats, Floats]:
        """Where each step begins and ends on the axis."""
        if by == "time":
            return self.start, self.end
        slot = self.slot.astype(np.float64)
        return slot, slot + SLOT

    def inside(self, by: str, a: float, b: float) -> NDArray[np.int64]:
        """Return the indices of the steps that touch a stretch of the axis."""
        start, end = self.places(by)
        return np.flatnonzero((start <= b) & (end >= a))


def tracks(steps: pl.DataFrame, *, total_ms: float | None = None) -> Tracks:
    """Turn a frame with the columns of `run.steps` into arrays."""
    paired = "run" in steps.columns
    frame = steps.sort(["run", "seq"] if paired else "seq", maintain_order=True)
    counts = frame["run"].value_counts(sort=False)["count"] if paired else [len(frame)]
    slot = np.concatenate([np.arange(count) for count in counts]).astype(np.int64)
    started = frame["start_ms"].cast(pl.Float64)
    first = started.min()
    start = (
        (started - min(first or 0.0, 0.0)).fill_null(strategy="forward").fill_null(0.0).to_numpy()
    )
    took = frame["duration_ms"].cast(pl.Float32).fill_null(float("nan")).to_numpy()
    last = float((start + np.nan_to_num(took)).max()) if len(frame) else 0.0
    lane, lanes = _lanes(frame)
    name = frame["name"].fill_null("")
    names = name.unique().sort().to_list()
    return Tracks(
        frame=frame,
        start=start,
        took=took,
        kind=codes(frame["kind"], KINDS, default=STRUCTURE),
        status=_status(frame),
        lane=lane,
        lanes=lanes,
        slot=slot,
        name=name.cast(pl.Enum(names)).to_physical().cast(pl.UInt32).to_numpy(),
        names=names,
        clock=first is not None and last > 0,
        total=max(last, total_ms or 0.0),
    )


def _lanes(frame: pl.DataFrame) -> tuple[NDArray[np.uint8], list[Lane]]:
    """Stack the lanes of two runs, each under its letter."""
    if "run" not in frame.columns:
        return arrange(frame["lane"].fill_null("").to_list())
    numbers: list[NDArray[np.uint8]] = []
    lanes: list[Lane] = []
    for letter, part in frame.group_by("run", maintain_order=True):
        own, named = arrange(part["lane"].fill_null("").to_list())
        numbers.append(own + np.uint8(len(lanes)))
        lanes += [replace(named[0], heading=str(letter[0])), *named[1:]]
    return np.concatenate(numbers), lanes


def _status(frame: pl.DataFrame) -> NDArray[np.uint8]:
    """Structure that failed because a step inside it did is not a second error."""
    failed = frame.filter(pl.col("status") == "error")["parent_step_id"].drop_nulls()
    held = frame["kind"].is_null() & (frame["status"] == "error")
    inside = (held & frame["step_id"].is_in(failed.implode())).fill_null(False).to_numpy()
    status = codes(frame["status"], STATUSES, default=0)
    return np.where(inside, np.uint8(INSIDE), status)


def codes(values: pl.Series, words: tuple[str, ...], *, default: int) -> NDArray[np.uint8]:
    """Give each word its place in a list."""
    known = {word: code for code, word in enumerate(words)}
    numbers = values.cast(pl.String).replace_strict(known, default=default, return_dtype=pl.UInt8)
    return numbers.fill_null(default).to_numpy()
