"""How a replay can differ from its recording: typed, each with place, cause and a suggested fix."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workbench.capture.outcomes import Came
    from workbench.recording import RecordedCall

DivergenceKind = Literal[
    "request_changed",
    "extra_call",
    "missing_call",
    "reordered",
    "name_changed",
    "lane_shape_changed",
    "nondeterminism",
    "code_changed",
    "dependency_changed",
    "own_value",
    "normaliser_failed",
    "order_not_kept",
    "outcome_mismatch",
    "exception_mismatch",
    "stream_shape",
    "capture_gap",
    "capture_quality",
    "mode_downgraded",
    "unconsumed",
    "refused",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Divergence:
    """One difference between a replay and its recording.

    ``seq`` is that of the recorded call it was found at (None where there is none), ``expected``
    and ``actual`` are what was recorded and what was asked, ``changes`` a list of JSON-pointer
    differences, ``nearest`` the recorded calls most like what was asked.
    """

    kind: DivergenceKind
    seq: int | None
    lane: str | None
    expected: Any
    actual: Any
    cause: str
    fix: str
    changes: tuple[dict[str, Any], ...] = ()
    nearest: tuple[dict[str, Any], ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the record as JSON-ready fields."""
        return {**asdict(self), "changes": list(self.changes), "nearest": list(self.nearest)}

    def __str__(self) -> str:
        where = f"seq {self.seq}" if self.seq is not None else "no recorded call"
        changed = "".join(
            f"\n  {c['pointer'] or '/'}: {c['expected']!r} → {c['actual']!r}"
            for c in self.changes[:5]
        )
        return f"{self.kind} at {where}, lane {self.lane}: {self.cause}{changed}\nFix: {self.fix}"


class ReplayStopped(BaseException):
    """Ends an agent's code at a divergence; no ``except Exception`` holds it up."""


_DATE = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?)?(?:Z|[+-]\d\d:?\d\d)?")
_UUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}|\b[0-9a-f]{32}\b")
_NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e[+-]?\d+)?")
_EPOCH = re.compile(r"\b1[5-9]\d{8}(?:\d{3}|\.\d+)?\b")


def volatile(expected: Any, actual: Any) -> str | None:
    """Return what two values differ in if it is a date, a uuid or a random number, else None."""
    if isinstance(expected, float) and isinstance(actual, float):
        random = min(len(repr(expected)), len(repr(actual))) >= _RANDOM_DIGITS
        return "random number" if random else None
    if not isinstance(expected, str) or not isinstance(actual, str):
        return None
    for name, pattern in (("uuid", _UUID), ("date", _DATE), ("time", _EPOCH)):
        if pattern.search(expected) and pattern.sub("", expected) == pattern.sub("", actual):
            return name
    longest = max((m[0] for m in _NUMBER.finditer(expected)), key=len, default="")
    if len(longest) >= _RANDOM_DIGITS and _NUMBER.sub("", expected) == _NUMBER.sub("", actual):
        return "random number"
    return None


_RANDOM_DIGITS = 8


def pointer_diff(expected: Any, actual: Any, *, pointer: str = "", limit: int = 20) -> list[Any]:
    """Return the differences of two JSON values as ``{pointer, expected, actual}``."""
    if type(expected) is not type(actual):
        return [_change(pointer, expected, actual)]
    if isinstance(expected, dict):
        found: list[Any] = []
        for key in sorted({*expected, *actual}):
            at = f"{pointer}/{_escaped(key)}"
            found += pointer_diff(
                expected.get(key, _ABSENT), actual.get(key, _ABSENT), pointer=at, limit=limit
            )
            if len(found) >= limit:
                break
        return found[:limit]
    if isinstance(expected, list):
        found = []
        for index in range(max(len(expected), len(actual))):
            one = expected[index] if index < len(expected) else _ABSENT
            other = actual[index] if index < len(actual) else _ABSENT
            found += pointer_diff(one, other, pointer=f"{pointer}/{index}", limit=limit)
            if len(found) >= limit:
                break
        return found[:limit]
    return [] if expected == actual else [_change(pointer, expected, actual)]


def compared(
    call: RecordedCall, came: Came, *, outcome: dict[str, Any] | None, bodies: Mapping[str, Any]
) -> Divergence | None:
    """Return how what a live call gave differs from what was recorded; None where it does not."""
    mine, theirs = (bodies.get(str((o or {}).get("message")), o) for o in (came.outcome, outcome))
    changes = pointer_diff(theirs, mine)
    if not changes:
        return None
    return Divergence(
        kind="outcome_mismatch",
        seq=call.seq,
        lane=call.lane,
        expected=summary(call),
        actual=None,
        cause=f"{call.kind} {call.name} gives another answer live than was recorded",
        fix="what it reads has changed since, or it never gives the same answer twice",
        changes=tuple(changes),
    )


class _Absent:
    def __repr__(self) -> str:
        return "absent"


_ABSENT = _Absent()


def _change(pointer: str, expected: Any, actual: Any) -> dict[str, Any]:
    shown = [None if side is _ABSENT else side for side in (expected, actual)]
    change = {"pointer": pointer, "expected": shown[0], "actual": shown[1]}
    absent = [n for n, s in (("expected", expected), ("actual", actual)) if s is _ABSENT]
    return {**change, "absent": absent[0]} if absent else change


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


def summary(call: RecordedCall | None) -> dict[str, Any] | None:
    """Return a recorded call in a few words."""
    if call is None:
        return None
    return {
        "seq": call.seq,
        "kind": call.kind,
        "name": call.name,
        "lane": call.lane,
        "ordinal": call.ordinal,
        "signature": call.signature,
    }
