"""LangChain messages as pooled bodies, and back without loss.

A body holds no id of its own: frameworks stamp a new one in every run. The id travels beside it.
"""

from __future__ import annotations

from typing import Any

import pydantic
from langchain_core import messages as lc

from workbench.capture import names
from workbench.hashing import as_text, type_name

Frozen = Any

_ROLES = {"human": "user", "ai": "assistant", "system": "system", "tool": "tool"}
_CLASSES: dict[str, type[lc.BaseMessage]] = {
    "human": lc.HumanMessage,
    "ai": lc.AIMessage,
    "system": lc.SystemMessage,
    "tool": lc.ToolMessage,
    "function": lc.FunctionMessage,
    "chat": lc.ChatMessage,
    "remove": lc.RemoveMessage,
    "HumanMessageChunk": lc.HumanMessageChunk,
    "AIMessageChunk": lc.AIMessageChunk,
    "SystemMessageChunk": lc.SystemMessageChunk,
    "ToolMessageChunk": lc.ToolMessageChunk,
}
_PLACED = frozenset({"id", "type", "content", "name", "tool_calls", "tool_call_id", "status"})


def role_of(message: lc.BaseMessage) -> str:
    """Return the role a message has in every body: system, user, assistant or tool."""
    kind = message.type.removesuffix("MessageChunk").lower()
    own = _ROLES.get(kind) or getattr(message, "role", None)
    return as_text(str(own)) if own else ("tool" if kind else "user")


def message_fields(message: lc.BaseMessage) -> dict[str, Any]:
    """Return every field of a message but its id, those of a subclass and unknown ones too."""
    fields = dict(vars(message))
    fields.update(message.model_extra or {})
    fields.pop("id", None)
    return fields


def to_body(message: lc.BaseMessage, freeze: Any) -> dict[str, Frozen]:
    """Return the pooled form of a message; ``freeze`` is a `Freezer`."""
    fields = message_fields(message)
    body: dict[str, Frozen] = {"role": role_of(message), "content": freeze(message.content)}
    extra: dict[str, Frozen] = {"type": _word(message.type, freeze)}
    kind = type(message)
    if kind is not _CLASSES.get(message.type):
        extra["class"] = type_name(kind)
        if names.found(extra["class"]) is not kind:
            freeze.lossy = True
    calls = fields.get("tool_calls")
    placed = _PLACED
    if calls:
        if all(map(_is_tool_call, calls)):
            body["tool_calls"] = [_tool_call(call, freeze) for call in calls]
        else:  # set past all checks
            placed = _PLACED - {"tool_calls"}
    if fields.get("name") is not None:
        body["name"] = _word(fields["name"], freeze)
    if fields.get("tool_call_id") is not None:
        body["tool_call_id"] = _word(fields["tool_call_id"], freeze)
    if type(fields.get("status")) is str and fields["status"] == "error":
        body["error"] = True
    extra.update(
        (as_text(str(key)), freeze(value))
        for key, value in fields.items()
        if key not in placed and not _is_nothing(value)
    )
    return {**body, "extra": extra}


def _word(value: Any, freeze: Any) -> str | None:
    """Return what every reader of a body takes for text: a name or an id."""
    if value is None or (type(value) is str and value.isascii()):
        return value
    text = as_text(str(value))
    freeze.lossy = freeze.lossy or text != value
    return text


def _is_nothing(value: Any) -> bool:
    return value is None or (type(value) in (dict, list) and not value)


def _is_tool_call(call: Any) -> bool:
    return type(call) is dict and "name" in call and "args" in call


def _tool_call(call: dict[str, Any], freeze: Any) -> dict[str, Frozen]:
    form = {
        "id": _word(call.get("id"), freeze),
        "name": _word(call["name"], freeze),
        "arguments": freeze(call["args"]),
    }
    rest = {k: freeze(v) for k, v in call.items() if k not in ("id", "name", "args", "type")}
    return {**form, "extra": rest} if rest else form


def from_body(body: dict[str, Frozen], thaw: Any, *, id: str | None = None) -> Any:  # noqa: A002 - the message's own word
    """Return the message a body was made of, with the id that was kept beside it.

    A body that no LangChain message was made of comes back as a message of its role.
    """
    extra = dict(body.get("extra") or {})
    kind = extra.pop("type", None) or _kind_of(body)
    cls = _message_class(extra.pop("class", None), kind)
    fields = {key: thaw(value) for key, value in extra.items()}
    content = thaw(body.get("content"))
    fields |= {"content": "" if content is None else content, "id": id}
    if "name" in body:
        fields["name"] = body["name"]
    if body.get("tool_calls") and kind in ("ai", "AIMessageChunk"):
        fields["tool_calls"] = [_restored_call(call, thaw) for call in body["tool_calls"]]
    if kind in ("tool", "ToolMessageChunk"):
        fields["tool_call_id"] = body.get("tool_call_id") or ""
        fields["status"] = "error" if body.get("error") else "success"
    if kind == "AIMessageChunk" and "tool_call_chunks" in fields:
        # a chunk parses its tool calls out of their pieces
        fields.pop("tool_calls", None)
    if kind == "remove":
        fields.pop("content")
    try:
        return cls(**fields)
    except pydantic.ValidationError:  # it was made past all checks
        return cls.model_construct(**fields)


def _restored_call(call: dict[str, Any], thaw: Any) -> dict[str, Any]:
    arguments = thaw(call["arguments"])
    rest = {key: thaw(value) for key, value in (call.get("extra") or {}).items()}
    args = arguments if isinstance(arguments, dict) else {"__arguments": arguments}
    return {"name": call["name"], "args": args, "id": call.get("id"), "type": "tool_call", **rest}


def _kind_of(body: dict[str, Any]) -> str:
    kinds = {"system": "system", "user": "human", "assistant": "ai", "tool": "tool"}
    return kinds.get(str(body.get("role")), "human")


def _message_class(path: str | None, kind: str) -> type[lc.BaseMessage]:
    if path is not None:
        found = names.found(path)
        if isinstance(found, type) and issubclass(found, lc.BaseMessage):
            return found
    return _CLASSES.get(kind, lc.HumanMessage)
