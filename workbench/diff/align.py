"""Which call of A is which call of B: lane by lane, by anchors, so one extra step shifts nothing.

Within a lane calls are paired in rounds, each between the pairs of the round before: same request
and same outcome; same request; same outcome; same name (of a model call: same tools asked for);
same kind, but for tools. What is left and is the same in another lane has moved; the rest is only
in one run.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from rapidfuzz.distance import LCSseq

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from workbench.diff.sides import CallView, Side

Match = Literal["exact", "normalised", "moved", "request", "outcome", "name", "only_a", "only_b"]
T = TypeVar("T")
_CELLS = 2**31
"""A table of this many cells is the largest that is searched for a longest common subsequence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A call of A beside a call of B; one of them is null where only the other run made it.

    ``match`` is ``exact`` (the stored content is the same), ``normalised`` (the same but for ids),
    ``moved`` (the same in another lane), ``request`` or ``outcome`` (only that is the same),
    ``name``, ``only_a`` or ``only_b``.
    """

    a: CallView | None
    b: CallView | None
    match: Match

    @property
    def equal(self) -> bool:
        """Say whether request and outcome are the same."""
        return self.match in ("exact", "normalised")

    @property
    def only_history(self) -> bool:
        """Say whether a model gave the same answer after another conversation."""
        if self.a is None or self.b is None or self.match != "outcome":
            return False
        return self.a.kind == "model" and self.a.name == self.b.name


def aligned(a: Side, b: Side) -> list[Pair]:
    """Return every call of both runs once, in the order of A with B's own calls in between."""
    of_a, of_b = _by_lane(a.calls), _by_lane(b.calls)
    pairs = [
        _pair(left, right)
        for lane in {**of_a, **of_b}
        for left, right in paired(of_a.get(lane, []), of_b.get(lane, []), rounds=_ROUNDS)
    ]
    return _ordered(_across_lanes(pairs))


def _across_lanes(pairs: list[Pair]) -> list[Pair]:
    """Pair what is left in one lane with the same call in another."""
    left: dict[Hashable, list[CallView]] = defaultdict(list)
    for pair in pairs:
        if pair.b is None and pair.a is not None:
            left[_ROUNDS[0](pair.a)].append(pair.a)
    moved: dict[int, Pair] = {}
    for pair in pairs:
        if pair.a is None and pair.b is not None and left.get(_ROUNDS[0](pair.b)):
            was = left[_ROUNDS[0](pair.b)].pop(0)
            moved[was.seq] = moved[-pair.b.seq] = Pair(a=was, b=pair.b, match="moved")
    return [found for pair in pairs if (found := _unless_moved(pair, moved)) is not None]


def _unless_moved(pair: Pair, moved: dict[int, Pair]) -> Pair | None:
    if pair.b is None and pair.a is not None:
        return moved.get(pair.a.seq, pair)
    if pair.a is None and pair.b is not None and -pair.b.seq in moved:
        return None
    return pair


_ROUNDS: tuple[Callable[[CallView], Hashable], ...] = (
    lambda call: (call.kind, call.name, call.asked, call.came),
    lambda call: (call.kind, call.name, call.asked),
    lambda call: (call.kind, call.came) if call.came is not None else (id(call),),
    lambda call: (call.kind, call.asks_for if call.kind == "model" else call.name),
    lambda call: (call.kind, call.name if call.kind == "tool" else ""),
)


def _by_lane(calls: Sequence[CallView]) -> dict[str, list[CallView]]:
    lanes: dict[str, list[CallView]] = defaultdict(list)
    for call in calls:
        lanes[call.lane].append(call)
    return {lane: sorted(found, key=lambda call: call.ordinal) for lane, found in lanes.items()}


def _pair(left: CallView | None, right: CallView | None) -> Pair:
    if left is None or right is None:
        return Pair(a=left, b=right, match="only_b" if left is None else "only_a")
    return Pair(a=left, b=right, match=_match(left, right))


def _match(left: CallView, right: CallView) -> Match:
    same_request = (left.name, left.asked) == (right.name, right.asked)
    if same_request and left.came == right.came:
        same = left.content_hash == right.content_hash
        return "exact" if same else "normalised"
    if same_request:
        return "request"
    return "outcome" if left.came == right.came else "name"


def paired(
    a: Sequence[T], b: Sequence[T], *, rounds: Sequence[Callable[[T], Any]]
) -> list[tuple[T | None, T | None]]:
    """Pair two sequences by the keys of each round in turn; what has no partner stands alone."""
    if not a or not b or not rounds:
        return [(item, None) for item in a] + [(None, item) for item in b]
    found: list[tuple[T | None, T | None]] = []
    at_a = at_b = 0
    for i, j in [*_anchors([rounds[0](x) for x in a], [rounds[0](x) for x in b]), (len(a), len(b))]:
        inner = paired(a[at_a:i], b[at_b:j], rounds=rounds[1:])
        found += inner
        if i < len(a) and j < len(b):
            found.append((a[i], b[j]))
        at_a, at_b = i + 1, j + 1
    return found


def _anchors(a: list[Any], b: list[Any]) -> list[tuple[int, int]]:
    """Return the places of a longest common subsequence."""
    numbers: dict[Any, int] = {}
    left = [numbers.setdefault(item, len(numbers)) for item in a]
    right = [numbers.setdefault(item, len(numbers)) for item in b]
    if left == right:
        return [(i, i) for i in range(len(left))]
    if len(left) * len(right) > _CELLS:
        return _equal_ends(left, right)
    return [
        (step.src_start + i, step.dest_start + i)
        for step in LCSseq.opcodes(left, right)
        if step.tag == "equal"
        for i in range(step.src_end - step.src_start)
    ]


def _equal_ends(left: list[int], right: list[int]) -> list[tuple[int, int]]:
    """Return only the equal beginning and end of two sequences too long to search."""
    shorter = min(len(left), len(right))
    head = next((i for i in range(shorter) if left[i] != right[i]), shorter)
    rest = shorter - head
    tail = next((i for i in range(rest) if left[-1 - i] != right[-1 - i]), rest)
    ends = [(len(left) - i, len(right) - i) for i in range(tail, 0, -1)]
    return [(i, i) for i in range(head)] + ends


def _ordered(pairs: list[Pair]) -> list[Pair]:
    """Order by A's seq; a call that only B made comes before what B did next."""
    both = sorted((p.b.seq, p.a.seq) for p in pairs if p.a is not None and p.b is not None)
    reached: list[tuple[int, int]] = []
    for seq_b, seq_a in both:
        reached.append((seq_b, max(seq_a, reached[-1][1] if reached else 0)))
    return sorted(pairs, key=lambda pair: _place(pair, reached))


def _place(pair: Pair, reached: list[tuple[int, int]]) -> tuple[int, int, int]:
    if pair.a is not None:
        return pair.a.seq, 0, 0
    seq = pair.b.seq if pair.b is not None else 0
    before = bisect_right(reached, (seq, 0))
    return reached[before - 1][1] if before else 0, 1, seq
