"""Numbers as text, the way every view prints them; `figures.js` says the same."""

from __future__ import annotations

import math

SECOND, TEN, MINUTE, HOUR = 1000, 10, 60, 3600
CENT, FEW, MILLION = 0.01, 10_000, 1_000_000


def duration(ms: float | None) -> str | None:
    """Say how long something took; None where that is unknown."""
    if ms is None or math.isnan(ms):
        return None
    if round(ms) < SECOND:
        return f"{ms:.0f} ms"
    seconds = ms / SECOND
    if round(seconds, 1) < MINUTE:
        return f"{seconds:.{2 if round(seconds, 2) < TEN else 1}f} s"
    whole = round(seconds)
    if whole < HOUR:
        return f"{whole // MINUTE} min {whole % MINUTE:02} s"
    return f"{whole // HOUR} h {whole % HOUR // MINUTE:02} min"


def dollars(usd: float | None) -> str | None:
    """Say a price; None where it is unknown."""
    if usd is None or math.isnan(usd):
        return None
    if usd == 0:
        return "$0"
    return f"${usd:,.{4 if usd < CENT else 3 if usd < 1 else 2}f}"


def big(number: float | None) -> str | None:
    """Shorten a large count: 9,999, 132.7 k, 1.20 M."""
    if number is None:
        return None
    if number < FEW:
        return f"{number:,.0f}"
    if number < MILLION:
        return f"{number / 1e3:.1f} k"
    return f"{number / 1e6:.2f} M"


def moment(ms: float) -> str:
    """Say a place on the axis: 0, 20 s, 1 min 05, 2 h 05."""
    seconds = round(ms) / 1000
    if seconds == 0:
        return "0"
    if seconds < 1:
        return f"{ms:.0f} ms"
    if seconds < MINUTE:
        return f"{seconds:g} s"
    minutes, rest = divmod(seconds, MINUTE)
    rest = round(rest, 3)
    tail = f" {'0' if rest < TEN else ''}{rest:g}" if rest else ""
    if minutes < MINUTE:
        return f"{minutes:.0f} min{tail}"
    return f"{minutes // MINUTE:.0f} h {minutes % MINUTE:02.0f}{tail and f' min{tail}'}"
