"""Answers what an agent asks from a recording, or says how it differs. No input or output.

The caller holds a lock: positions are taken one at a time.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from workbench.replay import divergence as d
from workbench.replay import normal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from workbench.capture.normalise import Normalise
    from workbench.recording import RecordedCall, Recording
    from workbench.replay.divergence import Divergence

_NUMBER = re.compile(r"\[?\d+\]?$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What an agent asks: where, and the stored form of it."""

    kind: str
    name: str
    lane: str
    ordinal: int
    signature: str
    request: dict[str, Any]
    bodies: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    order: str = "declared"
    streams: bool = False
    tool_call_id: str | None = None
    normalise: Normalise | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """The recorded call that answers a question, and how well it fits."""

    call: RecordedCall
    level: str


class Engine:
    """Matches questions to the calls of one recording, each of which answers once."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self._unused: dict[int, RecordedCall] = {call.seq: call for call in recording.calls}
        self._reached: dict[str, int] = {}
        # by the name of their calls: normalisers that found a match, and what others raised
        self.normalisers: dict[str, Normalise] = {}
        self.failed: dict[str, str] = {}
        self._by_lane: dict[tuple[str, str], list[RecordedCall]] = defaultdict(list)
        self._by_signature: dict[str, list[RecordedCall]] = defaultdict(list)
        for call in sorted(recording.calls, key=lambda c: c.seq):
            self._by_lane[call.lane, call.signature].append(call)
            self._by_signature[call.signature].append(call)

    # ---- matching

    def exact(self, asked: Question) -> Match | None:
        """Return the recorded call at this position if its signature is the same."""
        call = self.recording.at(asked.lane, asked.ordinal)
        self._reached[asked.lane] = max(self._reached.get(asked.lane, 0), asked.ordinal)
        if call is None or call.seq not in self._unused or call.signature != asked.signature:
            return None
        return self._use(call, "exact_redacted" if call.quality == "redacted" else "exact")

    def cached(self, asked: Question) -> Match | None:
        """Return the first recorded call that answers, from the best level to the least."""
        found = self.exact(asked)
        if found is not None:
            return found
        here = self.recording.at(asked.lane, asked.ordinal)
        if here is not None and here.seq in self._unused and self._alike(asked, here):
            return self._use(here, "normalised")
        for level, waiting in (
            ("lane", self._by_lane[asked.lane, asked.signature]),
            ("run", self._by_signature[asked.signature]),
        ):
            for call in waiting:
                if call.seq in self._unused:
                    return self._use(call, level)
        return None

    def _alike(self, asked: Question, call: RecordedCall) -> bool:
        if (asked.kind, asked.name) != (call.kind, call.name):
            return False
        bodies, normalise = self.recording.bodies, asked.normalise
        try:
            mine = normal.masked(asked.request, {**bodies, **asked.bodies}, normalise)
            alike = normal.equal(mine, normal.masked(call.request, bodies, normalise))
        except Exception as error:
            if normalise is None:
                raise
            self.failed[asked.name] = repr(error)
            return False
        if alike and normalise is not None:
            self.normalisers[asked.name] = normalise
        return alike

    def _use(self, call: RecordedCall, level: str) -> Match:
        del self._unused[call.seq]
        return Match(call=call, level=level)

    def take(self, call: RecordedCall, level: str) -> Match | None:
        """Consume a call that was chosen by position, if it is still to be had."""
        return self._use(call, level) if call.seq in self._unused else None

    @property
    def unused(self) -> list[RecordedCall]:
        """The recorded calls nobody asked for, in order of seq."""
        return sorted(self._unused.values(), key=lambda call: call.seq)

    def expects(self, lane: str) -> bool:
        """Say whether a call in a lane or below it has not been asked for yet."""
        below = lane + "/"
        return any(c.lane == lane or c.lane.startswith(below) for c in self._unused.values())

    # ---- differences

    def explain(self, asked: Question) -> Divergence:
        """Say how a question that matches nothing differs from the recording."""
        here = self.recording.at(asked.lane, asked.ordinal)
        elsewhere = [c for c in self._by_signature[asked.signature] if c.seq in self._unused]
        same_lane = [c for c in elsewhere if c.lane == asked.lane]
        if asked.lane not in self.recording.lanes:
            return self._new_lane(asked, elsewhere)
        if here is None:
            return self._past_the_end(asked)
        if same_lane:
            return self._moved(asked, here, same_lane[0])
        return self._changed(asked, here)

    def _new_lane(self, asked: Question, elsewhere: list[RecordedCall]) -> Divergence:
        following = self._next_of_parent(asked.lane)
        # an equal call of another lane is the same one moved only where it would come first
        candidates = [call for call in (*elsewhere[:1], following) if call is not None]
        anchor = min(candidates, key=lambda call: call.seq, default=None)
        return self._divergence(
            "lane_shape_changed",
            asked,
            anchor,
            cause=f"{asked.kind} {asked.name} was asked in lane {asked.lane}, which the recording "
            "does not have",
            fix="spawn the same parallel work in the same order, or record the run again",
        )

    def _next_of_parent(self, lane: str) -> RecordedCall | None:
        """Return the first unused call that could have come next: nearest lane, smallest seq.

        What runs beside the lane is passed over: it does not depend on what the lane gives back.
        """
        could_follow = [call for call in self.unused if not _beside(call.lane, lane)]
        parent = lane
        while parent:
            below = (parent, parent + "/")
            found = [c for c in could_follow if c.lane == below[0] or c.lane.startswith(below[1])]
            if found:
                return found[0]
            parent = parent.rpartition("/")[0]
        return next(iter(could_follow or self.unused), None)

    def _past_the_end(self, asked: Question) -> Divergence:
        later = [o for o in self.recording.lanes[asked.lane] if o > asked.ordinal]
        # past the end of a lane it is told at the call that should have come next
        after = self.recording.at(asked.lane, later[0]) if later else None
        anchor = after or self._next_of_parent(asked.lane)
        return self._divergence(
            "extra_call",
            asked,
            anchor,
            cause=f"the recording has no call number {asked.ordinal} in lane {asked.lane}",
            fix="take the new call out, or record the run again",
        )

    def _moved(self, asked: Question, here: RecordedCall, found: RecordedCall) -> Divergence:
        skipped = found.ordinal - asked.ordinal
        kind: d.DivergenceKind
        if found.ordinal < asked.ordinal:
            kind, cause = "reordered", f"it was recorded earlier, as call number {found.ordinal}"
        elif skipped == 1:
            kind, cause = "missing_call", f"{here.kind} {here.name} was not asked before it"
        else:
            kind, cause = "reordered", f"it was recorded {skipped} calls later in its lane"
        return self._divergence(
            kind,
            asked,
            here,
            cause=f"{asked.kind} {asked.name} was asked too early: {cause}",
            fix="ask in the recorded order, or record the run again",
        )

    def _changed(self, asked: Question, here: RecordedCall) -> Divergence:
        changes = self.request_changes(asked, here)
        # a model's name is part of its request; a tool's name is what it is
        if asked.kind != here.kind or (asked.name != here.name and asked.kind != "model"):
            return self._other_call(asked, here, changes)
        if self._unrelated(asked, here):
            return self._divergence(
                "extra_call",
                asked,
                here,
                cause=f"{asked.kind} {asked.name} was asked with another conversation than any "
                "recorded call left in its lane",
                fix="take the new call out, or record the run again",
                changes=changes,
            )
        passed_over = self._passed_over(asked, here)
        if passed_over is not None:
            return self._divergence(
                "missing_call",
                asked,
                passed_over,
                cause=f"{asked.kind} {asked.name} was asked without {passed_over.kind} "
                f"{passed_over.name}, whose answer it held when it was recorded",
                fix="an earlier outcome, the prompt or the code sent the agent another way",
                changes=changes,
            )
        guess = next((v for c in changes if (v := d.volatile(c["expected"], c["actual"]))), None)
        if guess is not None and all(d.volatile(c["expected"], c["actual"]) for c in changes):
            return self._divergence(
                "nondeterminism",
                asked,
                here,
                cause=f"the request differs only by a {guess}: the agent reads it outside a call",
                fix="read it by wb.clock, wb.random or wb.uuid4, or in a tool; or let it differ in "
                f"a cached replay: normalise={[c['pointer'] for c in changes]}",
                changes=changes,
            )
        where = changes[0]["pointer"] if changes else "its form"
        return self._divergence(
            "request_changed",
            asked,
            here,
            cause=f"the request of {asked.kind} {asked.name} differs first at {where}",
            fix="an earlier outcome, the prompt, the model or the code changed: diff the runs",
            changes=changes,
        )

    def _other_call(
        self, asked: Question, here: RecordedCall, changes: list[dict[str, Any]]
    ) -> Divergence:
        if asked.kind == here.kind and asked.request == here.request:
            return self._divergence(
                "name_changed",
                asked,
                here,
                cause=f"the same request goes to {asked.name}, recorded was {here.name}",
                fix="give the tool or model its recorded name, or record the run again",
            )
        return self._divergence(
            "extra_call",
            asked,
            here,
            cause=f"{asked.kind} {asked.name} was asked where {here.kind} {here.name} was recorded",
            fix="take the new call out, or record the run again",
            changes=changes if asked.kind == here.kind else [],
        )

    def _unrelated(self, asked: Question, here: RecordedCall) -> bool:
        """Say whether a conversation is an earlier or another one, not the recorded one changed."""
        mine, theirs = asked.request.get("messages") or [], here.request.get("messages") or []
        if not mine or not theirs or len(mine) == len(theirs):
            return False
        return theirs[: len(mine)] == mine or not set(mine) & set(theirs)

    def _passed_over(self, asked: Question, here: RecordedCall) -> RecordedCall | None:
        """Return the first call nobody asked for although the recorded request holds its answer."""
        held = here.request.get("messages") or []
        if len(asked.request.get("messages") or []) >= len(held):
            return None
        waiting = (c for c in self.unused if c.seq < here.seq)
        return next((c for c in waiting if (c.outcome or {}).get("message") in held), None)

    def request_changes(self, asked: Question, call: RecordedCall) -> list[dict[str, Any]]:
        """Return the JSON-pointer differences of a request from a recorded one."""
        mine = normal.expanded(asked.request, {**self.recording.bodies, **asked.bodies})
        return d.pointer_diff(normal.expanded(call.request, self.recording.bodies), mine)

    def _divergence(
        self,
        kind: d.DivergenceKind,
        asked: Question,
        here: RecordedCall | None,
        *,
        cause: str,
        fix: str,
        changes: Iterable[dict[str, Any]] = (),
    ) -> Divergence:
        if asked.name in self.failed:
            cause = f"{cause}; its normaliser raised {self.failed[asked.name]}"
        return d.Divergence(
            kind=kind,
            seq=here.seq if here else None,
            lane=asked.lane,
            expected=d.summary(here),
            actual={
                "kind": asked.kind,
                "name": asked.name,
                "lane": asked.lane,
                "ordinal": asked.ordinal,
                "signature": asked.signature,
            },
            cause=cause,
            fix=fix,
            changes=tuple(changes),
            nearest=tuple(self.nearest(asked)),
        )

    def nearest(self, asked: Question, *, limit: int = 3) -> list[dict[str, Any]]:
        """Return the recorded calls most like a question, and the first field each differs in."""
        alike = [c for c in self.recording.calls if c.kind == asked.kind]
        ranked = sorted(
            ((_distance(asked, call), call.seq, call) for call in alike), key=lambda r: r[:2]
        )
        found = []
        for _, _, call in ranked[:limit]:
            changes = self.request_changes(asked, call)
            first = changes[0]["pointer"] if changes else None
            used = call.seq not in self._unused
            found.append({**(d.summary(call) or {}), "differs_at": first, "used": used})
        return found


def _distance(asked: Question, call: RecordedCall) -> tuple[int, int, int, int]:
    mine, theirs = asked.request.get("messages") or [], call.request.get("messages") or []
    shared = sum(1 for one, other in zip(mine, theirs, strict=False) if one == other)
    return (
        call.signature != asked.signature,
        call.name != asked.name,
        (call.lane != asked.lane) + abs(len(mine) - len(theirs)) - shared,
        abs(call.ordinal - asked.ordinal),
    )


def _beside(lane: str, other: str) -> bool:
    """Say whether a lane lies in a numbered branch that was spawned next to the other's."""
    parent, _, last = other.rpartition("/")
    name = _NUMBER.sub("", last)
    branch = lane.removeprefix(parent + "/").partition("/")[0]
    is_below = lane.startswith(parent + "/")
    return is_below and last not in (branch, name) and _NUMBER.sub("", branch) == name
