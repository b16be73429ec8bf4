"""One measured figure, beside its baseline of the same run, as a line of JSON."""

from __future__ import annotations

import json
import statistics
import sys
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A value and what it is held against; `wanted` says in words what was asked for."""

    figure: str
    value: float
    unit: str
    baseline: str | None = None
    baseline_value: float | None = None
    wanted: str | None = None

    @property
    def ratio(self) -> float | None:
        if not self.baseline_value:
            return None
        return self.value / self.baseline_value

    def line(self) -> str:
        """Return the figure as JSON; numbers are rounded to four digits that count."""
        document = {
            "figure": self.figure,
            "value": _rounded(self.value),
            "unit": self.unit,
            "baseline": self.baseline,
            "baseline_value": _rounded(self.baseline_value),
            "ratio": _rounded(self.ratio),
            "wanted": self.wanted,
        }
        return json.dumps(document, ensure_ascii=False)


def _rounded(number: float | None) -> float | None:
    return None if number is None else float(f"{number:.4g}")


def median(values) -> float:
    return statistics.median(values)


def percentile(values, share: float) -> float:
    """Return the smallest value that at least this share of all do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def say(text: str) -> None:
    """Tell what is being measured, beside the figures."""
    print(text, file=sys.stderr, flush=True)
