"""LangChain messages as pooled bodies, and back without loss.

A body holds no id of its own: frameworks stamp a new one in every run. The id travels beside it.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from langchain_core import messages as lc

from workbench.hashing import type_name

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
    return _ROLES.get(kind) or getattr(message, "role", None) or ("tool" if kind else "user")


def message_fields(message: lc.BaseMessage) -> dict[str, Any]:
    """Return every field of a message but its id, those of a subclass and unknown ones too."""
    fields = dict(vars(message))
    fields.update(message.model_extra or {})
    fields.pop("id", None)
    return fields


def to_body(message: lc.BaseMessage, freeze: Any) -> dict[str, Frozen]:
    """Return the pooled form of a message; ``freeze`` turns a value into canonical JSON."""
    fields = message_fields(message)
    body: dict[str, Frozen] = {"role": role_of(message), "content": freeze(message.content)}
    extra: dict[str, Frozen] = {"type": message.type}
    if type(message) is not _CLASSES.get(message.type):
        extra["class"] = type_name(type(message))
    calls = fields.get("tool_calls")
    if calls:
        body["tool_calls"] = [_tool_call(call, freeze) for call in calls]
    if fields.get("name") is not None:
        body["name"] = fields["name"]
    if fields.get("tool_call_id") is not None:
        body["tool_call_id"] = fields["tool_call_id"]
    if fields.get("status") == "error":
        body["error"] = True
    extra.update(
        (key, freeze(value))
        for key, value in fields.items()
        if key not in _PLACED and value is not None and value not in ({}, [])
    )
    return {**body, "extra": extra}


def _tool_call(call: dict[str, Any], freeze: Any) -> dict[str, Frozen]:
    form = {"id": call.get("id"), "name": call["name"], "arguments": freeze(call["args"])}
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
    return cls(**fields)


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
        module, _, name = path.partition(":")
        found = getattr(import_module(module), name, None)
        if isinstance(found, type) and issubclass(found, lc.BaseMessage):
            return found
    return _CLASSES.get(kind, lc.HumanMessage)
