"""Steps as one buffer of columns, the form in which they travel to the browser."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from workbench.widgets.kinds import EFFECTS, QUALITIES
from workbench.widgets.tracks import UNKNOWN, codes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from workbench.widgets.tracks import Tracks


def pack(
    track: Tracks, index: NDArray[np.int64], *, lanes: str | None = None
) -> tuple[dict[str, Any], bytes]:
    """Pack some steps, widest columns first; the browser's `unpack` knows the same order.

    Placing the rows of a long run takes time, so only those of the `lanes` in use are placed.
    """
    none = np.zeros(len(index), np.uint8)
    part = track.frame[index]
    used, name = np.unique(track.name[index], return_inverse=True)
    columns: list[NDArray[Any]] = [
        track.start[index],
        track.took[index],
        part["cost_usd"].cast(pl.Float32).fill_null(float("nan")).to_numpy(),
        index.astype(np.uint32),
        track.slot[index].astype(np.uint32),
        _counts(part["seq"]),
        _counts(part["input_tokens"]),
        _counts(part["output_tokens"]),
        _counts(part["ordinal"]),
        name.astype(np.uint32),
        track.kind[index],
        track.lane[index],
        none if lanes == "kind" else track.rows[index],
        none if lanes == "structure" else track.rows_by_kind[index],
        track.status[index],
        codes(part["effect"], EFFECTS, default=0),
        codes(part["quality"], QUALITIES, default=0),
    ]
    names = [track.names[code] for code in used]
    return {"n": len(index), "names": names}, b"".join(c.tobytes() for c in columns)


def _counts(values: pl.Series) -> NDArray[np.uint32]:
    return values.cast(pl.UInt32, strict=False).fill_null(UNKNOWN).to_numpy()
