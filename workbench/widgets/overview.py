"""A stretch of a run reduced to bins: how busy each kind was in each lane, and every error.

The size depends on the bins, never on the steps, and no step or error is lost: a bin in which a
step began is never empty, and the error counts add up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.widgets.kinds import STRUCTURE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from workbench.widgets.tracks import Tracks

BINS = 1024
BUDGET = 96 * 1024
FULL = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """`cover` has one row for each (lane, kind) of `strips`, 0 to 255 a bin."""

    a: float
    b: float
    bins: int
    strips: list[tuple[int, int]]
    cover: NDArray[np.uint8]
    skyline: NDArray[np.uint8]
    errors: NDArray[np.uint32]
    began: NDArray[np.uint32]

    def meta(self) -> dict[str, Any]:
        """Everything but the arrays, as JSON."""
        strips = [list(strip) for strip in self.strips]
        return {"a": self.a, "b": self.b, "bins": self.bins, "strips": strips}

    def pack(self) -> bytes:
        """Return the errors, the skyline, then the strips."""
        return self.errors.tobytes() + self.skyline.tobytes() + self.cover.tobytes()


def affordable(track: Tracks, bins: int = BINS) -> int:
    """Fewer bins where there are many strips, so that the size stays fixed."""
    strips = len(_grouped(_strip(track, "structure"))[0])
    return max(16, min(bins, BUDGET // max(strips, 1)))


def overview(track: Tracks, *, by: str, lanes: str, a: float, b: float, bins: int) -> Overview:
    """Reduce the stretch from `a` to `b` of the axis to bins."""
    inside = track.inside(by, a, b)
    starts, ends = (places[inside] for places in track.places(by))
    scale = bins / (b - a)
    begin, end = np.clip((starts - a) * scale, 0, bins), np.clip((ends - a) * scale, 0, bins)
    found, group = _grouped(_strip(track, lanes)[inside])
    bin_of = np.minimum(begin.astype(np.int64), bins - 1)
    fresh = starts >= a
    touched = np.bincount(
        group[fresh] * bins + bin_of[fresh], minlength=max(len(found), 1) * bins
    ).reshape(-1, bins)[: len(found)]
    busy = _busy(begin, end, group, len(found), bins)
    share = np.clip(np.ceil(busy * FULL - 1e-6), 0, FULL)
    cover = np.where(touched > 0, np.maximum(share, 1), share).astype(np.uint8)
    failed = track.failed[inside]
    fell = np.minimum(end[failed].astype(np.int64), bins - 1)
    return Overview(
        a=a,
        b=b,
        bins=bins,
        strips=[(int(code) >> 8, int(code) & 0xFF) for code in found],
        cover=cover,
        skyline=_skyline(busy[_calls(found)].sum(axis=0)),
        errors=np.bincount(fell, minlength=bins).astype(np.uint32),
        began=touched.sum(axis=0).astype(np.uint32),
    )


def _grouped(codes: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Give numbers to the codes that occur; they are few and small, so counting beats sorting."""
    found = np.flatnonzero(np.bincount(codes))
    number = np.zeros(int(found[-1]) + 1 if len(found) else 1, np.int64)
    number[found] = np.arange(len(found))
    return found, number[codes]


def _strip(track: Tracks, lanes: str) -> NDArray[np.int64]:
    kind = track.kind.astype(np.int64)
    lane = kind if lanes == "kind" else track.lane.astype(np.int64)
    return (lane << 8) | kind


def _busy(
    begin: NDArray[np.float64],
    end: NDArray[np.float64],
    group: NDArray[np.int64],
    groups: int,
    bins: int,
) -> NDArray[np.float64]:
    """Sum the parts of each bin that intervals cover.

    The part of all intervals before an edge is what began minus what ended before it, each counted
    as its distance from the edge; a bin's part is the difference between its two edges.
    """
    gone = _before_edges(begin, group, groups, bins) - _before_edges(end, group, groups, bins)
    return np.maximum(np.diff(gone, axis=1), 0.0)


def _before_edges(
    point: NDArray[np.float64], group: NDArray[np.int64], groups: int, bins: int
) -> NDArray[np.float64]:
    cell = group * (bins + 1) + point.astype(np.int64)
    size = groups * (bins + 1)
    count = np.bincount(cell, minlength=size).reshape(groups, bins + 1)
    total = np.bincount(cell, weights=point, minlength=size).reshape(groups, bins + 1)
    edge = np.arange(1, bins + 1)
    distance = edge * np.cumsum(count[:, :-1], axis=1) - np.cumsum(total[:, :-1], axis=1)
    return np.concatenate([np.zeros((groups, 1)), distance], axis=1)


def _calls(strips: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Leave structure out of the skyline: it holds calls that count already."""
    calls: NDArray[np.bool_] = (strips & 0xFF) != STRUCTURE
    return calls if calls.any() else ~calls


def _skyline(busy: NDArray[np.float64]) -> NDArray[np.uint8]:
    top = float(busy.max(initial=0.0))
    return np.ceil(busy / top * FULL - 1e-6).astype(np.uint8) if top > 0 else busy.astype(np.uint8)
