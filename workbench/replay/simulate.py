"""Plausible answers to calls: an operator's, a rule's, or those of the nearest recorded calls.

Pure: what was recorded elsewhere comes in by a function (`workbench.replay.lake` makes one of a
store). An answer is never a reproduction; each tells where it is from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal

from workbench import hashing
from workbench.errors import UsageError
from workbench.replay import given, normal
from workbench.replay.distance import distance
from workbench.replay.rules import NOTHING, Rule, rules_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from workbench.replay.engine import Question

    Lake = Callable[[str, str], Sequence["Candidate"]]
    Payload = Mapping[str, Any] | Callable[[Question], Any]

Source = Literal["payload", "rule", "nearest"]
THRESHOLD = 0.35


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A recorded call whose outcome may be given again.

    ``bodies`` has the messages that its request and its outcome name. ``failed`` says that it
    raised, or that the message it gave back tells of an error. ``rank`` is 0 for the calls of the
    run that is replayed; the others' runs are counted from the newest.
    """

    run_id: str
    seq: int
    lane: str
    ordinal: int
    rank: int
    failed: bool
    request: dict[str, Any]
    outcome: dict[str, Any] | None
    exception: dict[str, Any] | None
    bodies: Mapping[str, dict[str, Any]] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulated:
    """An answer, in stored form.

    ``provenance`` has ``source`` (``payload``, ``rule`` or ``nearest``), ``rule`` (its name), and
    ``run_id``, ``seq`` and ``distance`` of the nearest call; what does not apply is None.
    """

    outcome: dict[str, Any] | None
    exception: dict[str, Any] | None
    bodies: Mapping[str, dict[str, Any]]
    provenance: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Abstained:
    """No answer: why, and how far the nearest recorded call is, if there is one."""

    reason: str
    distance: float | None = None


class Simulator:
    """Answers a call with the first of these that has an answer, or abstains.

    1. The operator's payload.
    2. The first rule that matches.
    3. The recorded call of the same kind and name that is nearest, by
       `workbench.replay.distance.distance`, if it is no farther than the threshold. Of several
       that are equally near: one of the run that is replayed, then of the same lane, of the
       nearest number in it, of the newest run, the earliest in it. So equal questions get equal
       answers, and a poll gets again what it got, call by call. A call that failed is never near:
       only where no other is near enough, and it asked the very same, its failure is given again.

    Parameters
    ----------
    payload
        Name of a call → what it gives back; or a function of the question, whose None says that it
        has no answer.
    rules
        `workbench.replay.rules.Rule`, or their JSON form.
    lake
        A function of kind and name that returns the recorded calls; None for those of the store of
        the run that is replayed.
    threshold
        How far the nearest call may be, from 0 (it asked the same) to 1.

    Raises
    ------
    UsageError
        A part is unsound.

    Examples
    --------
    >>> simulator = Simulator({"track": "still on its way"}, threshold=0.2)
    >>> simulator.threshold
    0.2
    """

    def __init__(
        self,
        payload: Payload | None = None,
        rules: Iterable[Rule | Mapping[str, Any]] = (),
        *,
        lake: Lake | None = None,
        threshold: float = THRESHOLD,
    ) -> None:
        if isinstance(threshold, bool) or not isinstance(threshold, (int, float)):
            raise UsageError("a threshold is a number", found=repr(threshold)[:200])
        if not 0 <= threshold <= 1:
            raise UsageError("a threshold is between 0 and 1", found=threshold)
        if payload is not None and not callable(payload) and not isinstance(payload, Mapping):
            raise UsageError(
                "a payload is a mapping of names to outcomes, or a function of the question",
                found=repr(payload)[:200],
            )
        for name, outcome in payload.items() if isinstance(payload, Mapping) else ():
            if callable(outcome):
                raise UsageError(
                    "a payload's outcome is a value",
                    where=str(name),
                    found=repr(outcome)[:200],
                    hint="a function that answers is the payload itself: Simulator(function)",
                )
        self.payload = payload
        self.rules = rules_of(rules)
        self.lake = lake
        self.threshold = float(threshold)

    def over(self, lake: Lake) -> Simulator:
        """Return the same simulator over a lake, where it has none of its own."""
        if self.lake is not None:
            return self
        return Simulator(self.payload, self.rules, lake=lake, threshold=self.threshold)

    def __call__(self, asked: Question) -> Simulated | Abstained:
        """Answer a question, or abstain; what the lake raises is raised."""
        try:
            outcome = self._of_payload(asked)
        except Exception as error:  # noqa: BLE001 - an operator's own function: it is no answer of the tool
            return Abstained(reason=f"the payload raised {hashing.repr_of(error)}")
        if outcome is not NOTHING:
            return _given(outcome, asked, source="payload")
        document = _document(asked)
        for rule in self.rules:
            if rule.matches(document):
                return _given(rule.given, asked, source="rule", rule=rule.name)
        return self._nearest(asked)

    def _of_payload(self, asked: Question) -> Any:
        if isinstance(self.payload, Mapping):
            return self.payload.get(asked.name, NOTHING)
        found = self.payload(asked) if self.payload is not None else None
        return NOTHING if found is None else found

    def _nearest(self, asked: Question) -> Simulated | Abstained:
        what = f"{asked.kind} {asked.name}"
        candidates = () if self.lake is None else self.lake(asked.kind, asked.name)
        if not candidates:
            return Abstained(reason=f"no rule answers {what}, and no such call is recorded")
        far = [(_far(asked, one), one) for one in candidates]
        came_back = min((p for p in far if not p[1].failed), key=_order(asked), default=None)
        if came_back is not None and came_back[0] <= self.threshold:
            return _again(*came_back, asked)
        failed = min((p for p in far if p[1].failed), key=_order(asked), default=None)
        if failed is not None and failed[0] == 0:
            return _again(*failed, asked)
        if came_back is None:
            return Abstained(
                reason=f"every recorded call of {what} failed, and asked another thing"
            )
        found, nearest = came_back
        return Abstained(
            reason=f"the nearest of {len(candidates)} recorded calls of {what} is at distance "
            f"{found:.3g} (run {nearest.run_id}, seq {nearest.seq}), above {self.threshold:.3g}",
            distance=found,
        )


def sent(simulator: Simulator, calls: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Return a simulator as JSON for another process, with the recorded calls of these names.

    Raises
    ------
    UsageError
        Its payload is a function: it cannot be sent.
    """
    payload = simulator.payload
    if payload is not None and not isinstance(payload, Mapping):
        raise UsageError(
            "a function cannot be taken into an isolated replay",
            where="simulate=",
            hint="give a mapping or rules, or replay without isolate",
        )
    lake = simulator.lake or (lambda _kind, _name: ())
    found = {pair: lake(*pair) for pair in sorted(set(calls))}
    return {
        "payload": None if payload is None else {k: given.sent(v) for k, v in payload.items()},
        "rules": [rule.as_dict() for rule in simulator.rules],
        "threshold": simulator.threshold,
        "calls": [[*pair, [_form(one) for one in several]] for pair, several in found.items()],
        "bodies": {d: b for many in found.values() for one in many for d, b in one.bodies.items()},
    }


def received(form: dict[str, Any]) -> Simulator:
    """Return the simulator that `sent` wrote: it knows the calls that were sent, and no others."""
    payload, pool = form["payload"], form["bodies"]
    known = {
        (kind, name): [
            Candidate(**{**one, "bodies": {digest: pool[digest] for digest in one["bodies"]}})
            for one in several
        ]
        for kind, name, several in form["calls"]
    }
    return Simulator(
        None if payload is None else {k: given.received(v) for k, v in payload.items()},
        form["rules"],
        lake=lambda kind, name: known.get((kind, name), ()),
        threshold=form["threshold"],
    )


def _form(one: Candidate) -> dict[str, Any]:
    return {name: getattr(one, name) for name in _FIELDS} | {"bodies": list(one.bodies)}


_FIELDS = tuple(one.name for one in fields(Candidate) if one.name != "bodies")


def _document(asked: Question) -> dict[str, Any]:
    """Return what rules point into."""
    return {
        "kind": asked.kind,
        "name": asked.name,
        "lane": asked.lane,
        "ordinal": asked.ordinal,
        "request": normal.expanded(asked.request, asked.bodies),
    }


def _far(asked: Question, candidate: Candidate) -> float:
    bodies = {**candidate.bodies, **asked.bodies}
    return distance(asked.request, candidate.request, bodies=bodies)


def _order(asked: Question) -> Callable[[tuple[float, Candidate]], tuple[Any, ...]]:
    def key(pair: tuple[float, Candidate]) -> tuple[Any, ...]:
        far, one = pair
        elsewhere, away = one.lane != asked.lane, abs(one.ordinal - asked.ordinal)
        return (far, one.rank != 0, elsewhere, away, one.rank, one.seq, one.run_id)

    return key


def _given(
    outcome: Any, asked: Question, *, source: Source, rule: str | None = None
) -> Simulated | Abstained:
    try:
        came = given.came(outcome, kind=asked.kind, like=_like(asked))
    except UsageError as error:
        return Abstained(reason=f"what the {source} gives is no outcome: {error}")
    return Simulated(
        outcome=came.outcome,
        exception=came.exception,
        bodies=came.bodies,
        provenance=_provenance(source, rule=rule),
    )


def _again(far: float, candidate: Candidate, asked: Question) -> Simulated:
    """Return a recorded outcome in the form that is asked for."""
    outcome, bodies = given.fitting(candidate.outcome, candidate.bodies, like=_like(asked))
    return Simulated(
        outcome=outcome,
        exception=candidate.exception,
        bodies=bodies,
        provenance=_provenance("nearest", run_id=candidate.run_id, seq=candidate.seq, distance=far),
    )


def _like(asked: Question) -> dict[str, Any] | None:
    return given.blank(
        kind=asked.kind, name=asked.name, request=asked.request, tool_call_id=asked.tool_call_id
    )


def _provenance(source: Source, **known: Any) -> dict[str, Any]:
    nothing = dict.fromkeys(("run_id", "seq", "distance", "rule"))
    return {"source": source, **nothing, **known}
