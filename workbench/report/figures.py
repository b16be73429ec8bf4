"""Figures as the product writes them: ``3.58 s``, ``$0.343``, ``132.7 k``, ``4 of 31``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

_MINUTE, _HOUR = 60.0, 3600.0
_THIN = "\u202f"


def duration(ms: float) -> str:
    """Return milliseconds as ``179 ms · 3.58 s · 36.0 s · 1 min 11 s · 2 h 05 min``.

    Examples
    --------
    >>> [duration(ms) for ms in (179, 3580, 71_000, 7_500_000)]
    ['179 ms', '3.58 s', '1 min 11 s', '2 h 05 min']
    """
    seconds = ms / 1000
    if ms < 10:  # noqa: PLR2004 - below this the decimals are most of the figure
        return f"{ms:.1f} ms"
    if round(ms) < 1000:  # noqa: PLR2004 - a second
        return f"{ms:.0f} ms"
    if seconds < _MINUTE:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"  # noqa: PLR2004
    if seconds < _HOUR:
        return f"{int(seconds // 60)} min {int(seconds % 60):02d} s"
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60):02d} min"


def money(usd: float) -> str:
    """Return dollars: ``$0.0046 · $0.343 · $56.20``."""
    if usd == 0:
        return "$0"
    places = 4 if usd < 0.01 else 3 if usd < 1 else 2  # noqa: PLR2004 - the design's rule
    return f"${usd:,.{places}f}"


def quantity(number: float) -> str:
    """Return a count: ``1,200 · 132.7 k · 1.20 M``."""
    if number < 10_000:  # noqa: PLR2004 - the design's rule
        return f"{number:,.0f}" if number == int(number) or number > 99 else f"{number:,.1f}"  # noqa: PLR2004
    if number < 1_000_000:  # noqa: PLR2004
        return f"{number / 1000:.1f} k"
    return f"{number / 1_000_000:.2f} M"


def percent(share: float) -> str:
    """Return a share of 1 as ``68 %``."""
    return f"{share * 100:.0f}{_THIN}%"


def of(count: int, total: int) -> str:
    """Return ``4 of 31``."""
    return f"{count:,} of {total:,}"


def plural(count: int, noun: str, nouns: str | None = None) -> str:
    """Return ``1 run``, ``3 runs``."""
    return f"{count:,} {noun if count == 1 else nouns or noun + 's'}"


def when(at: datetime | None) -> str | None:
    """Return ``20 November 2026, 06:00 UTC``."""
    return None if at is None else f"{at.day} {at:%B %Y, %H:%M} UTC"


def clipped(text: str, most: int = 220) -> str:
    """Return the text on one line, and say how much was left out."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1].rstrip()}…"
