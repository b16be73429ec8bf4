"""Requests with messages put in, what providers make up renamed, and what may differ masked."""

from __future__ import annotations

import copy
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from workbench.capture.normalise import Normalise

# what a provider says about an answer, not what was said
_PROVIDER = ("response_metadata", "usage_metadata")


def expanded(request: Mapping[str, Any], bodies: Mapping[str, Any]) -> dict[str, Any]:
    """Return a request with message bodies in place of their digests."""
    if "messages" not in request:
        return dict(request)
    return {**request, "messages": [bodies.get(d, {"missing": d}) for d in request["messages"]]}


@dataclass(frozen=True, slots=True)
class Form:
    """What of a request has to be equal, and what its provider's ids were renamed to."""

    request: Any
    names: Mapping[str, str]


def normalised(request: Mapping[str, Any], bodies: Mapping[str, Any]) -> Form:
    """Return a request whose tool call ids are numbered in order of first use.

    What providers add to an answer is left out, and 1 and 1.0 are equal.
    """
    names: dict[str, str] = {}
    whole = expanded(request, bodies)
    messages = [message(body, names) for body in whole.get("messages") or []]
    return Form({**whole, "messages": messages} if messages else whole, names)


def masked(
    request: Mapping[str, Any], bodies: Mapping[str, Any], normalisers: Sequence[Normalise]
) -> Form:
    """Return what of a request has to be equal, by the normalisers of its call, in their order.

    The request itself stays as it is, whatever a normaliser does with what it is given.
    """
    form = normalised(request, bodies)
    whole = form.request
    for normalise in normalisers:
        if callable(normalise):
            whole = normalise(copy.deepcopy(whole))
            continue
        for pointer in normalise:
            whole = _without(whole, [_unescaped(part) for part in pointer.split("/")[1:]])
    return Form(whole, form.names)


def renamed(asked: Form, recorded: Form) -> dict[str, str]:
    """Return the provider's ids of a request, each with the recorded one it was taken for.

    Examples
    --------
    >>> renamed(Form({}, {"a9": "call-1"}), Form({}, {"a1": "call-1"}))
    {'a9': 'a1'}
    """
    own = {name: one for one, name in recorded.names.items()}
    pairs = ((one, own.get(name, one)) for one, name in asked.names.items())
    return {one: other for one, other in pairs if one != other}


def equal(one: Any, other: Any) -> bool:
    """Say whether two normalised requests are the same: 1 is 1.0 there, and neither is True.

    Examples
    --------
    >>> equal({"n": [1]}, {"n": [1.0]}), equal({"n": [1]}, {"n": [True]})
    (True, False)
    """
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(equal(v, other[k]) for k, v in one.items())
    if isinstance(one, (list, tuple)) and type(one) is type(other):
        return len(one) == len(other) and all(map(equal, one, other))
    return bool(one == other)


def _without(value: Any, path: Sequence[str]) -> Any:
    """Return a value with what lies at a path masked; what is not there is not added."""
    if not path:
        return _MASK
    first, rest = path[0], path[1:]
    if isinstance(value, dict) and first in value:
        return {**value, first: _without(value[first], rest)}
    if isinstance(value, list) and first.isdecimal() and int(first) < len(value):
        index = int(first)
        return [*value[:index], _without(value[index], rest), *value[index + 1 :]]
    return value


_MASK = {"$type": "volatile"}


def _unescaped(part: str) -> str:
    return part.replace("~1", "/").replace("~0", "~")


def told(used: Mapping[str, Sequence[Normalise]]) -> list[dict[str, Any]]:
    """Return normalisers, by the name of their calls, as a certificate tells them.

    Each is named by its pointers, or by its code.
    """
    return [_told(name, one) for name in sorted(used) for one in used[name]]


def _told(name: str, normalise: Normalise) -> dict[str, Any]:
    if not callable(normalise):
        return {"name": name, "pointers": list(normalise)}
    code = getattr(normalise, "__code__", None)
    made_of = repr((code.co_code, code.co_names, code.co_consts)) if code else repr(normalise)
    return {"name": name, "function": hashlib.sha256(made_of.encode()).hexdigest()}


def message(body: Mapping[str, Any], names: dict[str, str]) -> dict[str, Any]:
    """Return a message with its provider's ids renamed, by the ``names`` given so far."""
    form = dict(body)
    extra = {k: v for k, v in (body.get("extra") or {}).items() if k not in _PROVIDER}
    form["extra"] = extra
    if body.get("tool_calls"):
        form["tool_calls"] = [
            {**call, "id": _renamed(call.get("id"), names)} for call in body["tool_calls"]
        ]
    if body.get("tool_call_id"):
        form["tool_call_id"] = _renamed(body["tool_call_id"], names)
    return form


def _renamed(own: str | None, names: dict[str, str]) -> str | None:
    return None if own is None else names.setdefault(own, f"call-{len(names) + 1}")
