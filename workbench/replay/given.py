"""What an operator gives as an outcome, a text, value, message or exception, in stored form."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from langchain_core.documents import Document
from langchain_core.messages import BaseMessage

from workbench import hashing
from workbench.capture import exceptions, messages, values
from workbench.capture.outcomes import Came
from workbench.errors import UsageError

if TYPE_CHECKING:
    from workbench.schema import Kind

Body = dict[str, Any]

_BODY_KEYS = {"role", "content", "tool_calls", "tool_call_id", "name", "error", "extra"}
_SAID_OF_THE_OLD = ("usage_metadata", "response_metadata", "tool_call_chunks", "artifact")


def came(value: Any, *, kind: Kind | str, like: Body | None, message_id: str | None = None) -> Came:
    """Return what a call gives back where an operator gives its outcome.

    Parameters
    ----------
    value
        A text or JSON value, a message, documents, an exception, or ``{"exception": {…}}``.
    kind
        The call's.
    like
        The message whose content it takes the place of, with the id of the call it answers (see
        `blank`); None where the call gives back no message.
    message_id
        The id of the message it takes the place of.

    Raises
    ------
    UsageError
        An exception has no class.
    """
    raised = exception_of(value)
    if raised is not None:
        return Came(exception=raised)
    if isinstance(value, BaseMessage):
        body = messages.to_body(value, values.Freezer())
        body = addressed(body, (like or {}).get("tool_call_id"))
        return _message(body, value.id or message_id)
    if kind == "retriever":
        return Came(parsed={"documents": _documents(value)})
    if like is not None:
        return _message(_changed_body(like, value), message_id)
    return Came(parsed={"value": values.freeze(value)[0]})


def blank(
    *, kind: Kind | str, name: str, request: Mapping[str, Any], tool_call_id: str | None
) -> Body | None:
    """Return the empty message that a call answers with, or None where it gives back a value."""
    if kind == "model" and "messages" in request and "entry" not in request:
        return {"role": "assistant", "content": "", "extra": {"type": "ai"}}
    if tool_call_id is not None:
        return {
            "role": "tool",
            "content": "",
            "name": name,
            "tool_call_id": tool_call_id,
            "extra": {"type": "tool"},
        }
    return None


def addressed(body: Body, tool_call_id: str | None) -> Body:
    """Return a message; if it is a tool's answer, addressed to the call that asks."""
    if tool_call_id in (None, body.get("tool_call_id")) or body.get("role") != "tool":
        return body
    return {**body, "tool_call_id": tool_call_id}


def readdressed(
    outcome: dict[str, Any] | None, bodies: Mapping[str, Body], tool_call_id: str | None
) -> tuple[dict[str, Any] | None, dict[str, Body]]:
    """Return a stored outcome and its bodies, a tool's answer addressed to the call that asks."""
    if outcome is None or "message" not in outcome:
        return outcome, {}
    body = bodies[outcome["message"]]
    anew = addressed(body, tool_call_id)
    if anew is body:
        return outcome, {outcome["message"]: body}
    digest = hashing.digest_of(anew)
    return {"message": digest}, {digest: anew}


def fitting(
    outcome: dict[str, Any] | None, bodies: Mapping[str, Body], *, like: Body | None
) -> tuple[dict[str, Any] | None, dict[str, Body]]:
    """Return a stored outcome and its bodies in the form that another call gives back.

    A tool gives back a message where a model's message asked for it, else a value; ``like`` is what
    `blank` says of the call.
    """
    if outcome is None:
        return None, {}
    body = bodies.get(outcome.get("message", ""), {})
    if like is None and body.get("role") == "tool":
        return {"value": body.get("content")}, {}
    if like is not None and "value" in outcome:
        found = came(values.thaw(outcome["value"]), kind="", like=like)
        return found.outcome, dict(found.bodies)
    return readdressed(outcome, bodies, (like or {}).get("tool_call_id"))


def exception_of(value: Any) -> dict[str, Any] | None:
    """Return the record of a given exception, or None where the value is none.

    Raises
    ------
    UsageError
        It has no class.
    """
    if isinstance(value, BaseException):
        return exceptions.to_record(value, values.Freezer())
    if not isinstance(value, Mapping) or set(value) != {"exception"}:
        return None
    form = value["exception"]
    if isinstance(form, BaseException):
        return exceptions.to_record(form, values.Freezer())
    if not isinstance(form, Mapping) or not form.get("class"):
        raise UsageError(
            "a given exception needs its class",
            expected='{"exception": {"class": "module:Name", "message": "…"}}',
            found=repr(form)[:200],
        )
    name, text = str(form["class"]), str(form.get("message") or "")
    arguments = list(form.get("args") or ([text] if text else []))
    return {
        "class": name if ":" in name else f"builtins:{name}",
        "message": text or ", ".join(map(str, arguments)),
        "args": values.freeze(arguments)[0],
    }


def sent(value: Any) -> Any:
    """Return a given outcome as JSON, for another process."""
    if isinstance(value, BaseException):
        return {"exception": exceptions.to_record(value, values.Freezer())}
    return values.freeze(value)[0]


def received(form: Any) -> Any:
    """Return the outcome that `sent` wrote."""
    return values.thaw(form)


def _message(body: Body, message_id: str | None) -> Came:
    digest = hashing.digest_of(body)
    return Came(parsed={"message": digest}, bodies={digest: body}, message_id=message_id)


def _changed_body(like: Body, value: Any) -> Body:
    body = dict(like)
    extra = {k: v for k, v in (body.get("extra") or {}).items() if k not in _SAID_OF_THE_OLD}
    body["extra"] = extra
    if isinstance(value, Mapping) and value and set(value) <= _BODY_KEYS:
        body.update({key: item for key, item in value.items() if key != "tool_calls"})
        if "tool_calls" in value:
            body["tool_calls"] = [_tool_call(c, n) for n, c in enumerate(value["tool_calls"] or [])]
        return {key: item for key, item in body.items() if item not in (None, [], False)}
    for key in ("error", *(("tool_calls",) if body.get("role") == "assistant" else ())):
        body.pop(key, None)
    body["content"] = value if isinstance(value, str) else _as_text(value)
    return body


def _as_text(value: Any) -> str:
    """Return a value as LangChain writes what a tool gives back."""
    frozen = values.freeze(value)[0]
    try:
        return json.dumps(frozen, ensure_ascii=False)
    except TypeError:
        return str(value)


def _tool_call(form: Mapping[str, Any], number: int) -> dict[str, Any]:
    arguments = form.get("arguments", form.get("args", {}))
    return {
        "id": form.get("id") or f"edited-{number + 1}",
        "name": form["name"],
        "arguments": values.freeze(arguments)[0],
    }


def _documents(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, Mapping) and "documents" in value:
        value = value["documents"]
    listed = list(value) if isinstance(value, (list, tuple)) else [value]
    freeze = values.Freezer()
    return [freeze.document(_document(item)) for item in listed]


def _document(item: Any) -> Document:
    if isinstance(item, Document):
        return item
    if isinstance(item, Mapping):
        return Document(
            page_content=str(item.get("page_content", "")),
            metadata=dict(item.get("metadata") or {}),
            id=item.get("id"),
        )
    return Document(page_content=str(item))
