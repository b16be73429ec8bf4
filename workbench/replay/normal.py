"""Requests with their messages put in, and with what providers make up renamed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

# what a provider says about an answer, not what was said
_PROVIDER = ("response_metadata", "usage_metadata")


def expanded(request: Mapping[str, Any], bodies: Mapping[str, Any]) -> dict[str, Any]:
    """Return a request with message bodies in place of their digests."""
    if "messages" not in request:
        return dict(request)
    return {**request, "messages": [bodies.get(d, {"missing": d}) for d in request["messages"]]}


def normalised(request: Mapping[str, Any], bodies: Mapping[str, Any]) -> dict[str, Any]:
    """Return a request whose tool call ids are numbered in order of first use.

    What providers add to an answer is left out, and 1 and 1.0 are equal.
    """
    names: dict[str, str] = {}
    whole = expanded(request, bodies)
    messages = [_message(body, names) for body in whole.get("messages") or []]
    return {**whole, "messages": messages} if messages else whole


def _message(body: Mapping[str, Any], names: dict[str, str]) -> dict[str, Any]:
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
