"""How a replay can differ from its recording: typed, each with place, cause and a suggested fix."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from workbench.recording import RecordedCall
    from workbench.replay.engine import Question

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
    differences, ``nearest`` the recorded calls most like what was asked. ``matchers`` say which
    matcher failed and how, for what was asked and for each of the nearest: ``matcher seq failed
    reason pointers``. ``normaliser`` is a ready one where one would do, ``{name, pointers}``:
    ``replay(…, mode="cached", normalise={name: pointers})`` takes the call.
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
    matchers: tuple[dict[str, Any], ...] = ()
    normaliser: dict[str, Any] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the record as JSON-ready fields."""
        return {**asdict(self), **{name: list(getattr(self, name)) for name in _SEVERAL}}

    @classmethod
    def from_dict(cls, told: dict[str, Any]) -> Divergence:
        """Return the record that was told as JSON-ready fields."""
        return cls(**{**told, **{name: tuple(told[name]) for name in _SEVERAL}})

    def __str__(self) -> str:
        seq = "" if self.seq is None else f" at seq {self.seq}"
        lane = "" if self.lane is None else f" in lane {self.lane}"
        lines = [f"{self.kind}{seq}{lane}: {self.cause}"]
        lines += [
            f"  {c['pointer'] or '/'}: {c['expected']!r} → {c['actual']!r}"
            for c in self.changes[:5]
        ]
        lines += [f"  {one['matcher']}: {one['reason']}" for one in self.matchers]
        near = [
            f"seq {one['seq']} {one['name']}, {one['differs_at'] or 'the same request'}"
            for one in self.nearest
        ]
        lines += [f"  nearest: {'; '.join(near)}"] if near else []
        return "\n".join([*lines, f"Fix: {self.fix}"])


# these say why something may differ; where nothing else does they are no divergence
_NOTICES = frozenset({"dependency_changed", "own_value", "normaliser_failed", "order_not_kept"})
RECONSTRUCTED = "reconstructed"


def is_notice(found: Divergence) -> bool:
    """Say whether a difference only says why something may differ.

    That answers were reconstructed by an importer is one; that they lost something is none.
    """
    if found.kind == "capture_quality":
        return bool(found.actual["quality"] == RECONSTRUCTED)
    return found.kind in _NOTICES


_SEVERAL = ("changes", "nearest", "matchers")


class ReplayStopped(BaseException):
    """Ends an agent's code at a divergence; no ``except Exception`` holds it up."""


_DATE = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?)?(?:Z|[+-]\d\d:?\d\d)?")
_UUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}|\b[0-9a-f]{32}\b")
_NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e[+-]?\d+)?")
_EPOCH = re.compile(r"\b1[5-9]\d{8}(?:\d{3}|\.\d+)?\b")


def volatile(expected: Any, actual: Any) -> str | None:
    """Return what two values differ in if it is a date, a uuid or a random number, else None.

    Examples
    --------
    >>> volatile("it is 2026-01-01", "it is 2026-01-02"), volatile("2 of 12345678", "3 of 12345678")
    ('date', None)
    """
    if isinstance(expected, float) and isinstance(actual, float):
        random = min(len(repr(expected)), len(repr(actual))) >= _RANDOM_DIGITS
        return "random number" if random else None
    if not isinstance(expected, str) or not isinstance(actual, str):
        return None
    guess = None
    for name, pattern in (("uuid", _UUID), ("date", _DATE), ("time", _EPOCH)):
        if guess is None and pattern.findall(expected) != pattern.findall(actual):
            guess = name
        expected, actual = pattern.sub(_MASK, expected), pattern.sub(_MASK, actual)
    if expected == actual:
        return guess
    return guess or "random number" if _differ_by_random_numbers(expected, actual) else None


def _differ_by_random_numbers(expected: str, actual: str) -> bool:
    if _NUMBER.sub(_MASK, expected) != _NUMBER.sub(_MASK, actual):
        return False
    pairs = zip(_NUMBER.findall(expected), _NUMBER.findall(actual), strict=True)
    return all(max(map(len, pair)) >= _RANDOM_DIGITS for pair in pairs if pair[0] != pair[1])


_MASK = "\0"
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
    same = expected == actual
    if same and isinstance(expected, float):  # 0.0 equals -0.0 and is another number
        same = repr(expected) == repr(actual)
    return [] if same else [_change(pointer, expected, actual)]


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
    return None if call is None else {"seq": call.seq, **asked_for(call)}


def asked_for(one: RecordedCall | Question) -> dict[str, Any]:
    """Return what was asked, and where, in a few words."""
    return {
        "kind": one.kind,
        "name": one.name,
        "lane": one.lane,
        "ordinal": one.ordinal,
        "signature": one.signature,
    }
