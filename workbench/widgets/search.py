"""The step to go to from another; `next` in `layout.js` says the same of short runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

    from workbench.widgets.tracks import Tracks


def go(
    track: Tracks,
    to: str,
    start: int,
    *,
    by: str = "time",
    lanes: str = "structure",
    hidden: Collection[int] = (),
    text: str = "",
) -> int | None:
    """Return an index, or None where there is none; `start` is -1 while nothing is selected."""
    if to == "index":
        return int(text) if 0 <= int(text) < len(track) else None
    shown = ~np.isin(track.kind, list(hidden))
    if to.startswith("lane"):
        step = 1 if to == "lane below" else -1
        return _beside(track, start, step, by=by, lanes=lanes, shown=shown)
    wanted = shown & _wanted(track, to, start, text)
    if to in {"first", "next", "next of kind"}:
        return _after(wanted, -1 if to == "first" else start)
    if to in {"last", "previous", "previous of kind"}:
        return _before(wanted, len(track) if start < 0 or to == "last" else start)
    if to == "previous error":
        back = _around(wanted[::-1], len(track) - 1 - start if start >= 0 else -1)
        return None if back is None else len(track) - 1 - back
    return _around(wanted, start)


def _wanted(track: Tracks, to: str, start: int, text: str) -> NDArray[np.bool_]:
    if to.endswith("error"):
        return track.failed
    if to.endswith("of kind") and start >= 0:
        same: NDArray[np.bool_] = track.kind == track.kind[start]
        return same
    if to == "find":
        return _named(track, text)
    return np.ones(len(track), np.bool_)


def _after(wanted: NDArray[np.bool_], start: int) -> int | None:
    found = np.flatnonzero(wanted[start + 1 :])
    return int(found[0]) + start + 1 if len(found) else None


def _before(wanted: NDArray[np.bool_], start: int) -> int | None:
    found = np.flatnonzero(wanted[:start])
    return int(found[-1]) if len(found) else None


def _around(wanted: NDArray[np.bool_], start: int) -> int | None:
    later = _after(wanted, start)
    return _after(wanted, -1) if later is None else later


def _named(track: Tracks, text: str) -> NDArray[np.bool_]:
    wanted = text.casefold()
    named = enumerate(track.names)
    codes = [code for code, name in named if wanted and wanted in name.casefold()]
    return np.isin(track.name, codes)


def _beside(
    track: Tracks, start: int, step: int, *, by: str, lanes: str, shown: NDArray[np.bool_]
) -> int | None:
    """Find the step nearest in time in the next lane that has any."""
    if start < 0:
        return _after(shown, -1)
    lane = (track.kind if lanes == "kind" else track.lane).astype(np.int64)
    away = (lane - lane[start]) * step
    candidates = shown & (away > 0)
    if not candidates.any():
        return None
    candidates &= away == away[candidates].min()
    begin, end = track.places(by)
    middle = (begin[start] + end[start]) / 2
    index = np.flatnonzero(candidates)
    far = np.maximum(np.maximum(begin[index] - middle, middle - end[index]), 0)
    return int(index[far.argmin()])
