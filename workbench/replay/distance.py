"""How unlike two requests are: 0 says the same, 0.5 is half of it another, 1 has nothing in common.

A text is as far from another as the share of its words that would have to change, so an identifier
is the same or another one, never nearly the same. Numbers and truths are equal or not. Of objects
each key counts alike, of lists each place; what only one of the two has is at 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rapidfuzz.distance import Levenshtein

from workbench import hashing
from workbench.replay import normal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    Body = Mapping[str, Any]

_CONVERSATION, _PROMPT, _SETTINGS = 0.5, 0.25, 0.25
_BY_WORDS = 8
_SAID = ("content", "tool_calls", "name", "error")


def distance(one: Body, other: Body, *, bodies: Mapping[str, Body]) -> float:
    """Return how far a request is from another one of the same kind and name, from 0 to 1.

    Where both name messages, half of it is the conversation, each message weighing half of the one
    that follows it; a quarter the system prompts; a quarter everything else (model, parameters,
    tools). Ids of calls and what a provider says of its answers do not count.

    Parameters
    ----------
    one, other
        Two requests, as they are stored.
    bodies
        Digest → message, of all the messages they name.

    Examples
    --------
    >>> def asked(**arguments):
    ...     return {"arguments": arguments}
    >>> distance(asked(order="A1", full=True), asked(order="A1", full=True), bodies={})
    0.0
    >>> distance(asked(order="A1", full=True), asked(order="A2", full=True), bodies={})
    0.5
    >>> distance(asked(text="where is my parcel"), asked(text="where is my money"), bodies={})
    0.25
    """
    if "messages" not in one or "messages" not in other:
        return _between(one, other)
    if any(one.get(key) != other.get(key) for key in ("entry", "batches")):
        return 1.0  # what comes back has another form
    mine, theirs = (_messages(request, bodies) for request in (one, other))
    return (
        _CONVERSATION * _backwards(_spoken(mine), _spoken(theirs))
        + _PROMPT * _between(_prompts(mine), _prompts(theirs))
        + _SETTINGS * _settings(one, other)
    )


def _messages(request: Body, bodies: Mapping[str, Body]) -> list[Body]:
    return [bodies.get(digest, {"missing": digest}) for digest in request["messages"]]


def _spoken(messages: Iterable[Body]) -> list[Body]:
    return [body for body in messages if body.get("role") != "system"]


def _prompts(messages: Iterable[Body]) -> list[Any]:
    return [body.get("content") for body in messages if body.get("role") == "system"]


def _backwards(mine: Sequence[Body], theirs: Sequence[Body]) -> float:
    """Compare two conversations from their ends, the earlier the less."""
    total = weights = 0.0
    weight = 1.0
    for back in range(max(len(mine), len(theirs))):
        far = 1.0
        if back < min(len(mine), len(theirs)):
            one, other = mine[-1 - back], theirs[-1 - back]
            far = _between_messages(one, other, by_words=back < _BY_WORDS)
        total += weight * far
        weights += weight
        weight /= 2
    return total / weights if weights else 0.0


def _between_messages(one: Body, other: Body, *, by_words: bool) -> float:
    if one is other:
        return 0.0
    if one.get("role") != other.get("role") or "missing" in one or "missing" in other:
        return 0.0 if one == other else 1.0
    mine, theirs = _said(one), _said(other)
    return _between(mine, theirs) if by_words else float(not normal.equal(mine, theirs))


def _said(body: Body) -> dict[str, Any]:
    said = {key: body[key] for key in _SAID if body.get(key)}
    if "tool_calls" in said:
        said["tool_calls"] = [
            {"name": call.get("name"), "arguments": call.get("arguments")}
            for call in said["tool_calls"]
        ]
    return said


def _settings(one: Body, other: Body) -> float:
    names = {*one, *other} - {"messages"}
    return _mean(_alike_or_between(one, other, name) for name in sorted(names))


def _alike_or_between(one: Body, other: Body, name: str) -> float:
    if name not in one or name not in other:
        return 1.0
    # the schemas of many tools, as a rule the same: bytes are compared in no time
    if hashing.dumps(one[name]) == hashing.dumps(other[name]):
        return 0.0
    return _between(one[name], other[name])


def _between(one: Any, other: Any) -> float:
    """Return how far two JSON values are from each other."""
    if isinstance(one, str) and isinstance(other, str):
        return 0.0 if one == other else _between_texts(one, other)
    if isinstance(one, dict) and isinstance(other, dict):
        if "$type" in one or "$type" in other:
            tagged = one.get("$type") == other.get("$type")
            return _between(one.get("$value"), other.get("$value")) if tagged else 1.0
        return _mean(
            _between(one[key], other[key]) if key in one and key in other else 1.0
            for key in sorted({*one, *other})
        )
    if isinstance(one, list) and isinstance(other, list):
        paired = [_between(*pair) for pair in zip(one, other, strict=False)]
        return _mean([*paired, *[1.0] * abs(len(one) - len(other))])
    return float(not normal.equal(one, other))


def _between_texts(one: str, other: str) -> float:
    mine, theirs = one.split(), other.split()
    return float(Levenshtein.normalized_distance(mine, theirs))


def _mean(parts: Iterable[float]) -> float:
    listed = list(parts)
    return sum(listed) / len(listed) if listed else 0.0
