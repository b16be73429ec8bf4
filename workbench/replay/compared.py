"""What came back from a call beside what was recorded of it: the same, or how it differs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from workbench import hashing
from workbench.replay import divergence as d
from workbench.replay import normal
from workbench.replay.outputs import shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workbench.capture.outcomes import Came
    from workbench.recording import RecordedCall
    from workbench.replay.divergence import Divergence

_LIMIT = 1_000


def outcome_changes(
    recorded: RecordedCall, came: Came, bodies: Mapping[str, dict[str, Any]]
) -> Divergence | None:
    """Return how what came back differs from what a call was recorded to give, None if it does not.

    ``bodies`` are the recording's messages; those of the live answer are in ``came``. An
    ``exception_mismatch`` has the pointers ``/class`` and ``/message``. The pointers of an
    ``outcome_mismatch`` lead into the outcome (``/value/…``, ``/documents/0/…``) or, where it is a
    message, into that (``/content/…``, ``/tool_calls/0/arguments/…``). Where a text is JSON on both
    sides they lead on into it: ``/content/flights/0/price``. Ids that providers make up, and what
    they add about an answer, are not compared.
    """
    was, now = shown(recorded.exception), shown(came.exception)
    if was != now:
        return _divergence(
            recorded,
            "exception_mismatch",
            expected=was,
            actual=now,
            changes=d.pointer_diff(was, now) if was and now else [],
            cause=_raised(recorded, was, now),
        )
    if was is not None and (recorded.outcome is None or came.outcome is None):
        return None  # an importer keeps what a tool said of its error, a live call has none
    then, here = _comparable(recorded.outcome, came.outcome, {**bodies, **came.bodies})
    if hashing.dumps(then) == hashing.dumps(here):
        return None
    changes = d.pointer_diff(*_opened(then, here), limit=_LIMIT)
    return _divergence(
        recorded,
        "outcome_mismatch",
        expected=hashing.digest_of(then),
        actual=hashing.digest_of(here),
        changes=changes,
        cause=f"{recorded.kind} {recorded.name} gave back something else than was recorded, "
        f"first at {changes[0]['pointer'] or '/'}",
    )


def _raised(recorded: RecordedCall, was: dict[str, Any] | None, now: dict[str, Any] | None) -> str:
    named = f"{recorded.kind} {recorded.name}"
    if now is None:
        return f"{named} gave an answer where it was recorded to raise"
    return f"{named} raised" + (" where it was recorded to answer" if was is None else " otherwise")


def _divergence(
    recorded: RecordedCall,
    kind: d.DivergenceKind,
    *,
    expected: Any,
    actual: Any,
    cause: str,
    changes: list[dict[str, Any]],
) -> Divergence:
    return d.Divergence(
        kind=kind,
        seq=recorded.seq,
        lane=recorded.lane,
        expected={**(d.summary(recorded) or {}), "came": expected},
        actual={
            "kind": recorded.kind,
            "name": recorded.name,
            "lane": recorded.lane,
            "ordinal": recorded.ordinal,
            "came": actual,
        },
        cause=cause,
        fix="what stands behind the call has changed since: the changes say where",
        changes=tuple(changes),
    )


# ---- what is compared


def _comparable(
    recorded: dict[str, Any] | None, came: dict[str, Any] | None, bodies: Mapping[str, Any]
) -> tuple[Any, Any]:
    """Return two outcomes as they are compared: a message by its body, a bare value by it."""
    sides = [_with_body(outcome, bodies) for outcome in (recorded, came)]
    is_message = ["message" in (outcome or {}) for outcome in (recorded, came)]
    if is_message[0] == is_message[1]:
        return sides[0], sides[1]
    said, told = (
        side.get("content") if own else side.get("value")
        for side, own in zip(sides, is_message, strict=True)
    )
    if isinstance(said, str) != isinstance(told, str):
        said, told = _parsed(said), _parsed(told)
    return {"content": said}, {"content": told}


def _with_body(outcome: dict[str, Any] | None, bodies: Mapping[str, Any]) -> dict[str, Any]:
    if outcome is None or "message" not in outcome:
        return dict(outcome or {})
    rest = {key: value for key, value in outcome.items() if key != "message"}
    body = bodies.get(outcome["message"], {"missing": outcome["message"]})
    form = normal.message(body, {})
    form["extra"].pop("type", None)  # its role says it
    if body.get("role") == "tool":  # whom it answers is the asking call's
        form = {key: value for key, value in form.items() if key not in ("name", "tool_call_id")}
    return {**form, **rest}


def _opened(one: Any, other: Any) -> tuple[Any, Any]:
    """Return two values with the texts in the same place that differ, and are JSON, read."""
    if isinstance(one, dict) and isinstance(other, dict):
        pairs = {key: _opened(one[key], other[key]) for key in one.keys() & other.keys()}
        ones = {key: pairs[key][0] if key in pairs else one[key] for key in one}
        return ones, {key: pairs[key][1] if key in pairs else other[key] for key in other}
    if isinstance(one, list) and isinstance(other, list):
        opened = [_opened(*pair) for pair in zip(one, other, strict=False)]
        number = len(opened)
        return (
            [*(pair[0] for pair in opened), *one[number:]],
            [*(pair[1] for pair in opened), *other[number:]],
        )
    if isinstance(one, str) and isinstance(other, str) and one != other:
        read = _parsed(one), _parsed(other)
        if type(read[0]) is type(read[1]) is not str and hashing.dumps(read[0]) != hashing.dumps(
            read[1]
        ):
            return _opened(*read)
    return one, other


def _parsed(text: Any) -> Any:
    """Return the object or list that a text is the JSON of; else what was given."""
    if not isinstance(text, str) or text.lstrip()[:1] not in ("{", "["):
        return text
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
