"""What the answers of a replay fall short of: the mode that was asked, the recording's quality."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.recording import NEVER
from workbench.replay import divergence as d

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from workbench.recording import Calls, RecordedCall, Recording
    from workbench.replay.answers import Answered
    from workbench.replay.divergence import Divergence

_EXACT = frozenset({"exact", "exact_redacted"})
_CACHED = _EXACT | {"normalised", "lane", "run", "kin"}
PROMISED = {
    "exact": _EXACT,
    "cached": _CACHED,
    "simulated": _CACHED | {"simulated"},
    "live": _CACHED | {"live"},
}
"""The match levels that each mode may answer at."""


def fallen_short(
    recording: Recording, answered: Iterable[Answered], *, mode_of: Callable[[Answered], str]
) -> Iterator[Divergence]:
    """Give what the answers of a replay fall short of, each once, at the first call of its sort.

    ``mode_downgraded``: calls were answered at a level below their mode, as collecting and miss
    policies do. ``capture_quality``: an answer is not what the agent was given when it was recorded
    (it lost something, or never came), or only an importer's word for it.
    """
    calls = recording.calls
    weaker: dict[tuple[str, str], list[Answered]] = {}
    poor: dict[str, list[int]] = {}
    for row in answered:
        number = _number(calls, row)
        was_answered = number is not None or row.match_level not in _UNANSWERED
        mode = mode_of(row)
        if was_answered and row.match_level not in PROMISED[mode]:
            weaker.setdefault((mode, row.match_level), []).append(row)
        if number is not None and (quality := _quality(calls, number)) is not None:
            poor.setdefault(quality, []).append(number)
    for (mode, level), rows in weaker.items():
        yield _downgraded(mode, level, rows, _number(calls, rows[0]), calls)
    for quality, numbers in poor.items():
        yield _poor(quality, calls[min(numbers)], len(numbers))


_UNANSWERED = ("miss", "refused")
_NEVER_ENDED = "never ended"
_WHY = {
    d.RECONSTRUCTED: "the answers are what an imported source says they were",
    "lossy": "what was asked or came back could not be kept whole",
    "truncated": "what was asked or came back was cut",
    _NEVER_ENDED: "nothing had come back when the run ended, and nothing was given",
}


def _number(calls: Calls, row: Answered) -> int | None:
    """Return the number of the replayed run's own call that answered."""
    own = row.source_seq is not None and row.source_run_id is None
    return calls.number_of(row.source_seq or 0) if own else None


def _quality(calls: Calls, number: int) -> str | None:
    quality = calls.qualities[number]
    if quality in ("full", "redacted"):
        return _NEVER_ENDED if calls.ended_seqs[number] == NEVER else None
    return quality


def _downgraded(
    mode: str, level: str, rows: list[Answered], number: int | None, calls: Calls
) -> Divergence:
    first = rows[0]
    seq = None if number is None else calls.seqs[number]
    by = "" if seq is None else f", by seq {seq}"
    return d.Divergence(
        kind="mode_downgraded",
        seq=seq,
        lane=first.lane,
        expected={"mode": mode, "levels": sorted(PROMISED[mode])},
        actual={
            "level": level,
            "calls": len(rows),
            "kind": first.kind,
            "name": first.name,
            "lane": first.lane,
            "ordinal": first.ordinal,
        },
        cause=f"asked was {mode}, and {_calls(len(rows))} answered at level {level}: first "
        f"{first.kind} {first.name}, call number {first.ordinal} of lane {first.lane}{by}",
        fix='the matches tell the level of every call; without collect and with on_miss="fail" '
        "the replay stops at the first",
    )


def _poor(quality: str, first: RecordedCall, number: int) -> Divergence:
    return d.Divergence(
        kind="capture_quality",
        seq=first.seq,
        lane=first.lane,
        expected=d.summary(first),
        actual={"quality": quality, "calls": number},
        cause=f"{_calls(number)} answered from a recording that is {quality}: {_WHY[quality]}",
        fix="record the run again with what the recording warned of put right",
    )


def _calls(number: int) -> str:
    return "1 call was" if number == 1 else f"{number} calls were"
