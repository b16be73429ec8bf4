"""How a question that matches nothing differs from the recording: its kind, place and cause."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from workbench.replay import divergence as d
from workbench.replay import matchers

if TYPE_CHECKING:
    from collections.abc import Iterable

    from workbench.recording import RecordedCall
    from workbench.replay.divergence import Divergence
    from workbench.replay.elsewhere import Displaced
    from workbench.replay.engine import Engine, Question

_NUMBER = re.compile(r"\[?\d+\]?$")


def explain(engine: Engine, asked: Question, *, tried: Iterable[dict[str, Any]] = ()) -> Divergence:
    """Say how a question that matches nothing differs; ``tried`` are other matchers that failed."""
    found = _explained(engine, asked)
    return replace(found, matchers=(*found.matchers, *tried))


def _explained(engine: Engine, asked: Question) -> Divergence:
    here = engine.recording.at(asked.lane, asked.ordinal)
    same = engine.asking_the_same(asked)
    waiting = [call for call in same if engine.is_unused(call) and call.ended_seq is not None]
    same_lane = [call for call in waiting if call.lane == asked.lane]
    if not engine.recording.calls.in_lane(asked.lane):
        return _new_lane(engine, asked, waiting)
    if here is None:
        return _past_the_end(engine, asked)
    if same_lane:
        return _moved(engine, asked, here, same_lane[0])
    if not engine.is_unused(here):
        return _used_up(engine, asked, here, same)
    return changed(engine, asked, here)


def displaced(engine: Engine, one: Displaced) -> Divergence:
    """Say how a question differs that another call answered than the one at its position."""
    found = _displaced(engine, one)
    if one.by is None:
        return found
    return replace(found, cause=f"{found.cause}; seq {one.by.seq} answered it")


def _displaced(engine: Engine, one: Displaced) -> Divergence:
    asked, here, by = one.asked, one.here, one.by
    if here is None:
        return _explained(engine, asked)
    robbed = engine.elsewhere.robbed(one)
    of_its_kind = (asked.kind, asked.name) == (here.kind, here.name)
    if by is None or robbed or (robbed is None and of_its_kind):
        return changed(engine, asked, here)
    return _moved(engine, asked, here, by)


# ---- the lane and the position


def _new_lane(engine: Engine, asked: Question, elsewhere: list[RecordedCall]) -> Divergence:
    following = _next_of_parent(engine, asked.lane)
    # an equal call of another lane is the same one moved only where it would come first
    candidates = [call for call in (*elsewhere[:1], following) if call is not None]
    anchor = min(candidates, key=lambda call: call.seq, default=None)
    return _divergence(
        engine,
        asked,
        anchor,
        kind="lane_shape_changed",
        cause=f"{asked.kind} {asked.name} was asked in lane {asked.lane}, which the recording "
        "does not have",
        fix="spawn the same parallel work in the same order, or record the run again",
    )


def _next_of_parent(engine: Engine, lane: str) -> RecordedCall | None:
    """Return the first unused call that could have come next: nearest lane, smallest seq.

    What runs beside the lane is passed over: it does not depend on what the lane gives back.
    """
    lanes = engine.lanes_left
    could_follow = {one for one in lanes if not _beside(one, lane)}
    parent = lane
    while parent:
        below = {one for one in could_follow if one == parent or one.startswith(parent + "/")}
        found = engine.first_unused(below)
        if found is not None:
            return found
        parent = parent.rpartition("/")[0]
    return engine.first_unused(could_follow or lanes)


def _beside(lane: str, other: str) -> bool:
    """Say whether a lane lies in a numbered branch that was spawned next to the other's."""
    parent, _, last = other.rpartition("/")
    name = _NUMBER.sub("", last)
    branch = lane.removeprefix(parent + "/").partition("/")[0]
    is_below = lane.startswith(parent + "/")
    return is_below and last not in (branch, name) and _NUMBER.sub("", branch) == name


def _past_the_end(engine: Engine, asked: Question) -> Divergence:
    calls = engine.recording.calls
    later = (n for n in calls.in_lane(asked.lane) if calls.ordinals[n] > asked.ordinal)
    number = next(later, None)
    # past the end of a lane it is told at the call that should have come next
    after = None if number is None else calls[number]
    anchor = _left_behind(engine, asked) or after or _next_of_parent(engine, asked.lane)
    return _divergence(
        engine,
        asked,
        anchor,
        kind="extra_call",
        cause=f"the recording has no call number {asked.ordinal} in lane {asked.lane}",
        fix="take the new call out, or record the run again",
    )


def _left_behind(engine: Engine, asked: Question) -> RecordedCall | None:
    """Return the first unused call of the lane before a position: of its kind and name, or any."""
    calls = engine.recording.calls
    before = [
        number
        for number in calls.in_lane(asked.lane)
        if calls.ordinals[number] <= asked.ordinal and not engine.is_asked(calls.seqs[number])
    ]
    named = (asked.kind, asked.name)
    alike = [number for number in before if (calls.kinds[number], calls.names[number]) == named]
    number = next(iter(alike or before), None)
    return None if number is None else calls[number]


def _moved(engine: Engine, asked: Question, here: RecordedCall, found: RecordedCall) -> Divergence:
    skipped = found.ordinal - asked.ordinal
    kind: d.DivergenceKind = "reordered"
    if found.lane != asked.lane:
        cause = f"it was recorded in lane {found.lane}"
    elif skipped < 0:
        cause = f"it was recorded earlier, as call number {found.ordinal}"
    elif skipped == 1 and engine.is_unused(here):
        kind, cause = "missing_call", f"{here.kind} {here.name} was not asked before it"
    else:
        cause = f"it was recorded {skipped} calls later in its lane"
    of_its_kind = (asked.kind, asked.name) == (here.kind, here.name)
    return _divergence(
        engine,
        asked,
        here,
        kind=kind,
        cause=f"{asked.kind} {asked.name} was asked too early: {cause}",
        fix="ask in the recorded order, or record the run again",
        changes=engine.request_changes(asked, here) if of_its_kind else (),
    )


def _used_up(
    engine: Engine, asked: Question, here: RecordedCall, same: list[RecordedCall]
) -> Divergence:
    anchor = _left_behind(engine, asked)
    if not same and anchor is not None:
        return changed(engine, asked, anchor)
    answered = ", ".join(f"seq {call.seq}" for call in same[:3])
    if same:
        cause = f"was asked more often than it was recorded: {answered} answered before"
    else:
        cause = f"was asked where {here.kind} {here.name} was recorded, which answered before"
    return _divergence(
        engine,
        asked,
        anchor or here,
        kind="extra_call",
        cause=f"{asked.kind} {asked.name} {cause}",
        fix="look at the first difference; take the new call out, or record the run again",
    )


# ---- the request


def changed(engine: Engine, asked: Question, here: RecordedCall) -> Divergence:
    """Say how a question differs from a call that was recorded in its place."""
    changes = engine.request_changes(asked, here)
    # a model's name is part of its request; a tool's name is what it is
    if asked.kind != here.kind or (asked.name != here.name and asked.kind != "model"):
        return _other_call(engine, asked, here, changes)
    if _unrelated(asked, here):
        return _divergence(
            engine,
            asked,
            here,
            kind="extra_call",
            cause=f"{asked.kind} {asked.name} was asked with another conversation than any "
            "recorded call left in its lane",
            fix="take the new call out, or record the run again",
            changes=changes,
        )
    passed_over = _passed_over(engine, asked, here)
    if passed_over is not None:
        return _divergence(
            engine,
            asked,
            passed_over,
            kind="missing_call",
            cause=f"{asked.kind} {asked.name} was asked without {passed_over.kind} "
            f"{passed_over.name}, whose answer it held when it was recorded",
            fix="an earlier outcome, the prompt or the code sent the agent another way",
            changes=changes,
        )
    normaliser = matchers.ready(engine, asked, here)
    if normaliser is not None:
        return _volatile(engine, asked, here, changes, normaliser)
    where = changes[0]["pointer"] if changes else "its form"
    return _divergence(
        engine,
        asked,
        here,
        kind="request_changed",
        cause=f"the request of {asked.kind} {asked.name} differs first at {where}",
        fix="an earlier outcome, the prompt, the model or the code changed: diff the runs",
        changes=changes,
    )


def _volatile(
    engine: Engine,
    asked: Question,
    here: RecordedCall,
    changes: list[dict[str, Any]],
    normaliser: dict[str, Any],
) -> Divergence:
    guesses = (d.volatile(c["expected"], c["actual"]) for c in changes)
    guess = next((found for found in guesses if found), "value of the moment")
    pointers, name = normaliser["pointers"], normaliser["name"]
    return _divergence(
        engine,
        asked,
        here,
        kind="nondeterminism",
        cause=f"the request differs only by a {guess}: the agent reads it outside a call",
        fix="read it by wb.clock, wb.random or wb.uuid4, or in a tool; or let it differ in a "
        f"cached replay: normalise={pointers} at its definition, or replay(run, agent, "
        f'mode="cached", normalise={ {name: pointers} })',
        changes=changes,
        normaliser=normaliser,
    )


def _other_call(
    engine: Engine, asked: Question, here: RecordedCall, changes: list[dict[str, Any]]
) -> Divergence:
    if asked.kind == here.kind and asked.request == here.request:
        return _divergence(
            engine,
            asked,
            here,
            kind="name_changed",
            cause=f"the same request goes to {asked.name}, recorded was {here.name}",
            fix="give the tool or model its recorded name, or record the run again",
        )
    return _divergence(
        engine,
        asked,
        here,
        kind="extra_call",
        cause=f"{asked.kind} {asked.name} was asked where {here.kind} {here.name} was recorded",
        fix="take the new call out, or record the run again",
        changes=changes if asked.kind == here.kind else [],
    )


def _unrelated(asked: Question, here: RecordedCall) -> bool:
    """Say whether a conversation is an earlier or another one, not the recorded one changed."""
    mine, theirs = asked.request.get("messages") or [], here.request.get("messages") or []
    if not mine or not theirs or len(mine) == len(theirs):
        return False
    return theirs[: len(mine)] == mine or not set(mine) & set(theirs)


def _passed_over(engine: Engine, asked: Question, here: RecordedCall) -> RecordedCall | None:
    """Return the first call nobody asked for although the recorded request holds its answer."""
    held = here.request.get("messages") or []
    if len(asked.request.get("messages") or []) >= len(held):
        return None
    waiting = (c for c in engine.unused() if c.seq < here.seq)
    return next((c for c in waiting if (c.outcome or {}).get("message") in held), None)


def _divergence(
    engine: Engine,
    asked: Question,
    here: RecordedCall | None,
    *,
    kind: d.DivergenceKind,
    cause: str,
    fix: str,
    changes: Iterable[dict[str, Any]] = (),
    normaliser: dict[str, Any] | None = None,
) -> Divergence:
    if asked.name in engine.failed:
        cause = f"{cause}; its normaliser raised {engine.failed[asked.name]}"
    return d.Divergence(
        kind=kind,
        seq=here.seq if here else None,
        lane=asked.lane,
        expected=d.summary(here),
        actual=d.asked_for(asked),
        cause=cause,
        fix=fix,
        changes=tuple(changes),
        nearest=tuple(matchers.nearest(engine, asked)),
        matchers=tuple(matchers.tried(engine, asked)),
        normaliser=normaliser,
    )
