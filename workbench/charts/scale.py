"""Where a chart's axis ends, and how sure a share is."""

from __future__ import annotations

import math

import polars as pl

_STEPS = (1, 2, 2.5, 5, 10)


def upper(largest: float) -> float:
    """Return the round number at or above the largest value, where the axis ends.

    Examples
    --------
    >>> upper(37.0)
    50.0
    >>> upper(0)
    1.0
    """
    if largest <= 0:
        return 1.0
    unit = 10.0 ** math.floor(math.log10(largest))
    return next(step * unit for step in _STEPS if step * unit >= largest * (1 - 1e-9))


def shares(frame: pl.DataFrame, *, hits: str, total: str) -> pl.DataFrame:
    """Add ``share``, ``low`` and ``high``: the rate of hits and its exact 95 % interval.

    The interval is Clopper and Pearson's, so it has a width also where all or none were hit.

    Parameters
    ----------
    frame
        One row per group.
    hits, total
        Columns of counts; total is at least 1.

    Examples
    --------
    >>> low, high = shares(pl.DataFrame({"k": [0], "n": [10]}), hits="k", total="n").row(0)[3:]
    >>> (low, round(high, 6))
    (0.0, 0.308497)
    """
    from scipy.stats import binomtest

    counts = frame.select(hits, total).iter_rows()
    rows = [(k / n, *binomtest(k, n).proportion_ci(method="exact")) for k, n in counts]
    schema = {"share": pl.Float64, "low": pl.Float64, "high": pl.Float64}
    return frame.hstack(pl.DataFrame(rows, schema=schema, orient="row"))
