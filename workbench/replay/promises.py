"""What the answers of a replay fall short of: the mode that was asked, the recording's quality."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.replay import divergence as d

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from workbench.recording import RecordedCall, Recording
    from workbench.replay.divergence import Divergence
    from workbench.replay.session import Answered

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
    by_seq = {call.seq: call for call in recording.calls}
    weaker: dict[tuple[str, str], list[Answered]] = {}
    poor: dict[str, list[RecordedCall]] = {}
    for row in answered:
        call = None if row.source_seq is None else by_seq.get(row.source_seq)
        was_answered = call is not None or row.match_level not in _UNANSWERED
        mode = mode_of(row)
        if was_answered and row.match_level not in PROMISED[mode]:
            weaker.setdefault((mode, row.match_level), []).append(row)
        if call is not None and (quality := _quality(call)) is not None:
            poor.setdefault(quality, []).append(call)
    for (mode, level), rows in weaker.items():
        yield _downgraded(mode, level, rows, by_seq)
    for quality, calls in poor.items():
        yield _poor(quality, calls)


_UNANSWERED = ("miss", "refused")
_NEVER_ENDED = "never ended"
_WHY = {
    d.RECONSTRUCTED: "the answers are what an imported source says they were",
    "lossy": "what was asked or came back could not be kept whole",
    "truncated": "what was asked or came back was cut",
    _NEVER_ENDED: "nothing had come back when the run ended, and nothing was given",
}


def _quality(call: RecordedCall) -> str | None:
    if call.quality in ("full", "redacted"):
        return _NEVER_ENDED if call.ended_seq is None else None
    return call.quality


def _downgraded(
    mode: str, level: str, rows: list[Answered], by_seq: dict[int, RecordedCall]
) -> Divergence:
    first = rows[0]
    call = None if first.source_seq is None else by_seq.get(first.source_seq)
    by = f", by seq {call.seq}" if call else ""
    return d.Divergence(
        kind="mode_downgraded",
        seq=first.source_seq,
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


def _poor(quality: str, calls: list[RecordedCall]) -> Divergence:
    first = min(calls, key=lambda call: call.seq)
    return d.Divergence(
        kind="capture_quality",
        seq=first.seq,
        lane=first.lane,
        expected=d.summary(first),
        actual={"quality": quality, "calls": len(calls)},
        cause=f"{_calls(len(calls))} answered from a recording that is {quality}: {_WHY[quality]}",
        fix="record the run again with what the recording warned of put right",
    )


def _calls(number: int) -> str:
    return "1 call was" if number == 1 else f"{number} calls were"
