"""Places for the ticks of an axis: 1-2-5 up to seconds, then 5-10-15-30, minutes and hours."""

from __future__ import annotations

import math

SECOND, MINUTE, HOUR = 1_000, 60_000, 3_600_000
TIMES: tuple[int, ...] = (
    *(1, 2, 5, 10, 20, 50, 100, 200, 500),
    *(SECOND * n for n in (1, 2, 5, 10, 15, 30)),
    *(MINUTE * n for n in (1, 2, 5, 10, 15, 30)),
    *(HOUR * n for n in (1, 2, 4, 8, 24)),
)


def ticks(a: float, b: float, width: float, *, by: str, gap: float = 88) -> list[float]:
    """Return places from `a` to `b`, at least `gap` pixels apart."""
    most = max(1.0, width / gap)
    span = b - a
    step = next((t for t in TIMES if span / t <= most), None) if by == "time" else None
    if step is None:
        power = 10 ** math.floor(math.log10(max(span / most, 1e-9)))
        step = next(m * power for m in (1, 2, 5, 10) if span / (m * power) <= most)
        step = max(1, step) if by != "time" else step
    first, last = math.ceil(a / step - 1e-9), math.floor(b / step)
    return [float(n * step) for n in range(first, last + 1)]
