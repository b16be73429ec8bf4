"""An edit of a recorded outcome: text, values, messages, documents or an exception."""

from __future__ import annotations

import json
from collections.abc import Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from langchain_core.documents import Document
from langchain_core.messages import BaseMessage

from workbench import hashing
from workbench.capture import exceptions, messages, values
from workbench.capture.outcomes import Came
from workbench.errors import ForkPoint

if TYPE_CHECKING:
    from workbench.capture.asked import Asked
    from workbench.recording import RecordedCall

KEYS = ("outcome",)
_BODY_KEYS = {"role", "content", "tool_calls", "tool_call_id", "name", "error", "extra"}


def checked(edits: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the edits, or refuse a key that nothing reads.

    Raises
    ------
    ForkPoint
        A key is unknown (the nearest valid one is named), or an exception has no class.
    """
    found = dict(edits or {})
    for key in found:
        if key not in KEYS:
            near = get_close_matches(str(key), KEYS, n=1, cutoff=0.3) or list(KEYS)
            raise ForkPoint(
                f"no such edit {key!r}",
                expected=list(KEYS),
                found=str(key),
                hint=f"did you mean {near[0]!r}?",
            )
    _exception(found.get("outcome"))
    return found


def edits_hash(edits: Mapping[str, Any], *, at: int) -> str:
    """Return the hex sha-256 of a fork's edits and their place."""
    return hashing.digest_of({"at": at, "edits": hashing.comparable(sent(edits))})


def sent(edits: Mapping[str, Any]) -> dict[str, Any]:
    """Return edits as JSON."""
    freeze = values.Freezer()
    return {
        key: {"exception": exceptions.to_record(value, freeze)}
        if isinstance(value, BaseException)
        else freeze(value)
        for key, value in edits.items()
    }


def received(form: Mapping[str, Any]) -> dict[str, Any]:
    """Return the edits that `sent` wrote."""
    return {key: values.thaw(value) for key, value in form.items()}


def edited(edit: Any, call: RecordedCall, *, bodies: Mapping[str, Any], asked: Asked) -> Came:
    """Return what the edited call gives back, in the form the agent expects of that call."""
    raised = _exception(edit)
    if raised is not None:
        return Came(exception=raised)
    if isinstance(edit, BaseMessage):
        return _message(messages.to_body(edit, values.Freezer()), edit.id or call.message_id)
    if call.kind == "retriever":
        return Came(parsed={"documents": _documents(edit)})
    recorded = _recorded_body(call, bodies, asked)
    if recorded is not None:
        return _message(_changed_body(recorded, edit), call.message_id)
    return Came(parsed={"value": values.freeze(edit)[0]})


def _exception(edit: Any) -> dict[str, Any] | None:
    if isinstance(edit, BaseException):
        return exceptions.to_record(edit, values.Freezer())
    if not isinstance(edit, Mapping) or set(edit) != {"exception"}:
        return None
    form = edit["exception"]
    if isinstance(form, BaseException):
        return exceptions.to_record(form, values.Freezer())
    if not isinstance(form, Mapping) or not form.get("class"):
        raise ForkPoint(
            "an edited exception needs its class",
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


def _message(body: dict[str, Any], message_id: str | None) -> Came:
    digest = hashing.digest_of(body)
    return Came(parsed={"message": digest}, bodies={digest: body}, message_id=message_id)


def _recorded_body(
    call: RecordedCall, bodies: Mapping[str, Any], asked: Asked
) -> dict[str, Any] | None:
    """Return the body to change, or None where the call gives back no message."""
    if call.outcome is not None and "message" in call.outcome:
        body = dict(bodies[call.outcome["message"]])
        if asked.tool_call_id is not None and body.get("role") == "tool":
            body["tool_call_id"] = asked.tool_call_id
        return body
    if call.outcome is None and call.kind == "model" and "messages" in call.request:
        return {"role": "assistant", "content": "", "extra": {"type": "ai"}}
    if call.outcome is None and asked.tool_call_id is not None:
        return {
            "role": "tool",
            "content": "",
            "name": call.name,
            "tool_call_id": asked.tool_call_id,
            "extra": {"type": "tool"},
        }
    return None


def _changed_body(recorded: dict[str, Any], edit: Any) -> dict[str, Any]:
    body = dict(recorded)
    extra = {k: v for k, v in (body.get("extra") or {}).items() if k not in _SAID_OF_THE_OLD}
    body["extra"] = extra
    if isinstance(edit, Mapping) and edit and set(edit) <= _BODY_KEYS:
        body.update({key: value for key, value in edit.items() if key != "tool_calls"})
        if "tool_calls" in edit:
            body["tool_calls"] = [_tool_call(c, n) for n, c in enumerate(edit["tool_calls"] or [])]
        return {key: value for key, value in body.items() if value not in (None, [], False)}
    for key in ("error", *(("tool_calls",) if body.get("role") == "assistant" else ())):
        body.pop(key, None)
    body["content"] = edit if isinstance(edit, str) else _as_text(edit)
    return body


_SAID_OF_THE_OLD = ("usage_metadata", "response_metadata", "tool_call_chunks", "artifact")


def _as_text(edit: Any) -> str:
    """Return a value as LangChain writes what a tool gives back."""
    frozen = values.freeze(edit)[0]
    try:
        return json.dumps(frozen, ensure_ascii=False)
    except TypeError:
        return str(edit)


def _tool_call(form: Mapping[str, Any], number: int) -> dict[str, Any]:
    arguments = form.get("arguments", form.get("args", {}))
    return {
        "id": form.get("id") or f"edited-{number + 1}",
        "name": form["name"],
        "arguments": values.freeze(arguments)[0],
    }


def _documents(edit: Any) -> list[dict[str, Any]]:
    if isinstance(edit, Mapping) and "documents" in edit:
        edit = edit["documents"]
    listed = list(edit) if isinstance(edit, (list, tuple)) else [edit]
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
