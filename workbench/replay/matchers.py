"""Which matcher failed for a question, and how; the recorded calls most like it; what would do."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Any

from workbench.replay import divergence as d
from workbench.replay import normal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workbench.recording import RecordedCall
    from workbench.replay.engine import Engine, Question

    Matcher = dict[str, Any]

_SHOWN = 3
_EVERY = 10_000


def tried(engine: Engine, asked: Question) -> list[Matcher]:
    """Return what each matcher says of a question: ``matcher seq failed reason pointers``.

    One that has not failed is weaker than the mode allows.
    """
    here = engine.recording.at(asked.lane, asked.ordinal)
    no_place = _no_place(engine, asked, here)
    same = engine.asking_the_same(asked)
    in_lane = [call for call in same if call.lane == asked.lane]
    beside = "it was asked beside another call of its lane: its position is chance"
    return [
        _exact(engine, asked, here, no_place or (None if asked.order == "declared" else beside)),
        _normalised(engine, asked, here, no_place),
        _elsewhere("lane", engine, in_lane, f"call of lane {asked.lane}"),
        _elsewhere("run", engine, same, "recorded call"),
    ]


def nearest(engine: Engine, asked: Question, *, limit: int = 3) -> list[dict[str, Any]]:
    """Return the recorded calls most like a question, nearest first.

    Each says the first field it ``differs_at``, whether it is ``used``, and in ``matchers`` why
    each matcher did not take it.
    """
    calls = engine.recording.calls
    alike = [number for number, kind in enumerate(calls.kinds) if kind == asked.kind]
    # what has its name is nearer than what has not
    named = [number for number in alike if calls.names[number] == asked.name]
    among = (calls[number] for number in (named if len(named) >= limit else alike))
    found = heapq.nsmallest(limit, among, key=lambda call: (_distance(asked, call), call.seq))
    return [_near(engine, asked, call) for call in found]


def ready(engine: Engine, asked: Question, call: RecordedCall) -> dict[str, Any] | None:
    """Return a normaliser by which a cached replay takes a question for a recorded call.

    It masks dates, uuids and random numbers only; None where that would not do.
    """
    given = engine.normalisers_of(asked)
    pointers = [pointer for one in given if not callable(one) for pointer in one]
    mine, theirs = engine.forms(asked, call, (pointers,))
    changes = d.pointer_diff(theirs.request, mine.request, limit=_EVERY)
    if not changes or not all(d.volatile(c["expected"], c["actual"]) for c in changes):
        return None
    pointers = [*pointers, *(change["pointer"] for change in changes)]
    mine, theirs = engine.forms(asked, call, (pointers,))
    if not normal.equal(mine.request, theirs.request):
        return None
    return {"name": asked.name, "pointers": pointers}


# ---- each matcher


def _no_place(engine: Engine, asked: Question, here: RecordedCall | None) -> str | None:
    if not engine.recording.calls.in_lane(asked.lane):
        return f"the recording has no lane {asked.lane}"
    if here is None:
        return f"the recording has no call number {asked.ordinal} in lane {asked.lane}"
    return _used(engine, here)


def _used(engine: Engine, call: RecordedCall) -> str | None:
    if engine.is_unused(call):
        return None
    lane, ordinal = engine.elsewhere.asker(call)
    return f"seq {call.seq} has answered call number {ordinal} of lane {lane}"


def _exact(
    engine: Engine, asked: Question, call: RecordedCall | None, reason: str | None
) -> Matcher:
    if call is None or reason is not None or call.signature == asked.signature:
        return _matcher("exact", call, reason)
    return _differing("exact", asked, call, engine.request_changes(asked, call))


def _normalised(
    engine: Engine, asked: Question, call: RecordedCall | None, reason: str | None
) -> Matcher:
    if call is not None and reason is None:
        reason = _other(asked, call, by_name=True)
    if call is None or reason is not None:
        return _matcher("normalised", call, reason)
    try:
        mine, theirs = engine.forms(asked, call, engine.normalisers_of(asked))
        alike = normal.equal(mine.request, theirs.request)
    except Exception as error:  # noqa: BLE001 - a normaliser is somebody's own code
        return _matcher("normalised", call, f"its normaliser raised {error!r}")
    if alike:
        return _matcher("normalised", call)
    return _differing("normalised", asked, call, d.pointer_diff(theirs.request, mine.request))


def _elsewhere(name: str, engine: Engine, same: list[RecordedCall], where: str) -> Matcher:
    came = [call for call in same if call.ended_seq is not None]
    waiting = [call for call in came if engine.is_unused(call)]
    if waiting:
        return _matcher(name, waiting[0])
    if came:
        return _matcher(name, came[0], f"every {where} that asks the same has answered")
    if same:
        return _matcher(name, same[0], f"the {where} that asks the same never came back")
    return _matcher(name, None, f"no {where} asks the same")


def _differing(
    name: str, asked: Question, call: RecordedCall, changes: list[dict[str, Any]]
) -> Matcher:
    pointers = [change["pointer"] for change in changes]
    shown = ", ".join(pointer or "/" for pointer in pointers[:_SHOWN])
    more = f" and {len(pointers) - _SHOWN} more" if len(pointers) > _SHOWN else ""
    reason = f"the request differs at {shown}{more}" if pointers else "the request differs in form"
    return _matcher(name, call, _other(asked, call) or reason, pointers)


def _other(asked: Question, call: RecordedCall, *, by_name: bool = False) -> str | None:
    # a model's name is part of its request
    named = asked.kind != "model" or by_name
    if asked.kind == call.kind and (asked.name == call.name or not named):
        return None
    return f"seq {call.seq} is {call.kind} {call.name}, asked was {asked.kind} {asked.name}"


def _matcher(
    name: str, call: RecordedCall | None, reason: str | None = None, pointers: Sequence[str] = ()
) -> Matcher:
    """Return what a matcher says of a call; without a reason it has not failed."""
    seq = call.seq if call is not None else None
    return {
        "matcher": name,
        "seq": seq,
        "failed": reason is not None,
        "reason": f"seq {seq} asks the same" if reason is None else reason,
        "pointers": list(pointers),
    }


# ---- what is near


def _near(engine: Engine, asked: Question, call: RecordedCall) -> dict[str, Any]:
    elsewhere = (asked.lane, asked.ordinal) != (call.lane, call.ordinal)
    place = f"it is call number {call.ordinal} of lane {call.lane}" if elsewhere else None
    used = _used(engine, call)
    exact = _exact(engine, asked, call, None)
    other_lane = f"it is in lane {call.lane}" if asked.lane != call.lane else None
    differs = exact["reason"] if exact["failed"] else None
    pointers = exact["pointers"]
    return {
        **(d.summary(call) or {}),
        "differs_at": pointers[0] if pointers else None,
        "used": used is not None,
        "matchers": [
            _matcher("exact", call, place or used or differs, pointers),
            _normalised(engine, asked, call, place or used),
            _matcher("lane", call, other_lane or used or differs, pointers),
            _matcher("run", call, used or differs, pointers),
        ],
    }


def _distance(asked: Question, call: RecordedCall) -> tuple[int, int, int, int]:
    mine, theirs = asked.request.get("messages") or [], call.request.get("messages") or []
    shared = sum(1 for one, other in zip(mine, theirs, strict=False) if one == other)
    return (
        call.signature != asked.signature,
        call.name != asked.name,
        (call.lane != asked.lane) + abs(len(mine) - len(theirs)) - shared,
        abs(call.ordinal - asked.ordinal),
    )
