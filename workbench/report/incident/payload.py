"""What a call asked and what came back, as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

Call = Mapping[str, Any]
Bodies = Mapping[str, Mapping[str, Any]]


def loaded(text: str | None) -> Any:
    """Return a JSON column's value."""
    return None if text is None else orjson.loads(text)


def asked(call: Call, bodies: Bodies) -> str:
    """Return the request as text: a tool's arguments, a query, a model's last message."""
    request = loaded(call.get("request")) or {}
    if "arguments" in request:
        return arguments(request["arguments"])
    if "messages" in request:
        last = [bodies[d] for d in request["messages"][-1:] if d in bodies]
        return message_text(last[0]) if last else ""
    return str(request.get("query") or request.get("prompt") or "")


def arguments(given: Any) -> str:
    """Return arguments as ``name: value, …``."""
    if not isinstance(given, dict):
        return str(given)
    return ", ".join(f"{name}: {plain(value)}" for name, value in given.items())


def answered(call: Call, bodies: Bodies) -> str | None:
    """Return what came back as text; null when nothing did."""
    outcome = loaded(call.get("outcome"))
    if not outcome:
        return call.get("error")
    if "message" in outcome:
        body = bodies.get(outcome["message"])
        return None if body is None else message_text(body)
    if "documents" in outcome:
        return "\n\n".join(str(d.get("page_content", "")) for d in outcome["documents"])
    return plain(outcome.get("value"))


def message_text(body: Mapping[str, Any]) -> str:
    """Return a message's words, then the calls it asks for, one a line."""
    content = body.get("content")
    words = content if isinstance(content, str) else _blocks(content)
    calls = [
        f"{c.get('name')}({arguments(c.get('arguments'))})" for c in body.get("tool_calls", [])
    ]
    error = body.get("error")
    said = [words, *calls, error if isinstance(error, str) else ""]
    return "\n".join(part for part in said if part)


def _blocks(content: Any) -> str:
    if not isinstance(content, list):
        return ""
    texts = (b if isinstance(b, str) else b.get("text") or b.get("content") for b in content)
    return "".join(text for text in texts if isinstance(text, str))


def plain(value: Any) -> str:
    """Return a JSON value as text; what JSON has not is shown by its value alone."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict) and set(value) == {"$type", "$value"}:
        return plain(value["$value"])
    if isinstance(value, dict) and isinstance(value.get("content"), str):
        return str(value["content"])
    return orjson.dumps(value).decode()


def documents(call: Call) -> dict[str, dict[str, Any]]:
    """Return the documents a retriever gave, by id, else by source, else by their beginning."""
    outcome = loaded(call.get("outcome")) or {}
    return {_key(d): d for d in outcome.get("documents", [])}


def _key(document: Mapping[str, Any]) -> str:
    metadata = document.get("metadata") or {}
    named = document.get("id") or next(
        (metadata[key] for key in ("id", "doc_id", "source", "title") if metadata.get(key)), None
    )
    return str(named or document.get("page_content", ""))[:60]
