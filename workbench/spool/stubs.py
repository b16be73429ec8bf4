"""What stands in a log for an event that its store will not take. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from workbench import hashing
from workbench.errors import MalformedFile
from workbench.schema import Event

if TYPE_CHECKING:
    from workbench.errors import WorkbenchError

_BODIES = {"call_started": {"request": {}}, "chunk": {"index": 0}, "annotated": {"label": "stub"}}
_LONGEST_TEXT = 200
_TEXTS = ("name", "lane", "step_id", "parent_step_id", "attempt_of")
_event = msgspec.json.Decoder(Event)


class _Asked(msgspec.Struct):
    messages: list[Any] = []


class _Messages(msgspec.Struct):
    request: _Asked


def stub(line: bytes, why: WorkbenchError) -> bytes:
    """Return an event of the same number, type and place with nothing in it, of quality truncated.

    A note of why, and how large it was, takes the place of its body where that has room for one.

    Raises
    ------
    MalformedFile
        The line is no event.
    """
    try:
        event = _event.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise MalformedFile(
            "a line of the spool is damaged", expected="an event", found=str(error)
        ) from error
    said = {"$type": "truncated", "$value": {"bytes": len(line), "code": why.code}}
    body = _BODIES.get(event.event_type, {})
    if event.event_type == "call_started":
        body = {"request": _request(event, said)}
    elif event.event_type == "call_ended":
        body = {"outcome": {"value": said}}
    texts = {
        name: fitted
        for name in _TEXTS
        if (text := getattr(event, name)) is not None and (fitted := _fitted(text)) != text
    }
    kind = event.event_type
    if kind == "artifact_created":  # there is none without its hash
        gap = {"kind": "event", "name": kind, "reason": why.code, "events": 1}
        kind, body = "annotated", {"label": "capture_gap", "value": gap}
    empty = msgspec.structs.replace(
        event,
        event_type=kind,
        payload=msgspec.Raw(hashing.dumps(body)),
        quality="truncated",
        **texts,
    )
    return msgspec.json.encode(hashing.sealed(empty)) + b"\n"


def _fitted(text: str) -> str:
    """Return a text that every column can hold: no store takes a NUL, and none takes any length."""
    return text[:_LONGEST_TEXT].replace("\0", "\\x00")


def _request(event: Event, said: dict[str, Any]) -> dict[str, Any]:
    """Keep a model's messages: later requests may begin with them."""
    if event.kind != "model":
        return {"arguments": said}
    messages = msgspec.json.decode(event.payload, type=_Messages).request.messages
    return {"messages": messages, "params": said}
