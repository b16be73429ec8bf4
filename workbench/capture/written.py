"""Events as they are built behind the agent, from what was frozen in front of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workbench import hashing

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from workbench.capture.asked import Asked
    from workbench.capture.nodes import Visit
    from workbench.capture.outcomes import Came
    from workbench.capture.session import Opened
    from workbench.schema import Quality

    # an event's envelope without its writer's own fields, its payload, and the bodies it names
    Written = tuple[dict[str, Any], bytes, Mapping[str, Any]]

_NO_BODIES: Mapping[str, Any] = {}


def event(
    event_type: str, payload: bytes, bodies: Mapping[str, Any], fields: dict[str, Any]
) -> Written:
    """Return an event that is made already."""
    return {"event_type": event_type, **fields}, payload, bodies


def call_started(opened: Opened) -> Written:
    """Return the start of a call."""
    asked = opened.asked
    if opened.order == "inferred":
        opened.session.unordered += 1
    fields = {
        "event_type": "call_started",
        "step_id": opened.step_id,
        "parent_step_id": opened.parent_step_id,
        "kind": asked.kind,
        "name": asked.name,
        "lane": opened.lane,
        "ordinal": opened.ordinal,
        "effect": asked.effect,
        "quality": _quality(asked, lossy=asked.lossy),
        "order": opened.order,
        "status": "running",
        "signature": asked.signature,
    }
    if opened.labels:
        fields.update(opened.labels)
    return fields, b'{"request":%b}' % asked.written, asked.bodies


def call_ended(opened: Opened, came: Came, status: str, took_ms: float) -> Written:
    """Return the end of a call, with what it gave back or raised."""
    asked, stream = opened.asked, opened.stream
    lossy = asked.lossy or came.lossy or (stream is not None and stream.lossy)
    if lossy:
        opened.session.lossy[f"{asked.kind} {asked.name}"] += 1
    fields = {
        "event_type": "call_ended",
        "step_id": opened.step_id,
        "parent_step_id": opened.parent_step_id,
        "kind": asked.kind,
        "name": asked.name,
        "lane": opened.lane,
        "ordinal": opened.ordinal,
        "quality": _quality(asked, lossy=lossy),
        "status": status,
        "duration_ms": took_ms,
        "content_hash": hashing.content_hash_of_written(
            asked.kind, asked.name, asked.written, came.content
        ),
    }
    if came.tokens:
        fields.update(came.tokens)
    if opened.labels:
        fields.update(opened.labels)
    return fields, came.payload, came.bodies


def _quality(asked: Asked, *, lossy: bool) -> Quality:
    if lossy:
        return "lossy"
    return "redacted" if asked.redacted else "full"


def chunk(opened: Opened, payload: bytes) -> Written:
    """Return pieces of a stream."""
    fields = {
        "event_type": "chunk",
        "step_id": opened.step_id,
        "parent_step_id": opened.parent_step_id,
        "kind": opened.asked.kind,
        "name": opened.asked.name,
        "lane": opened.lane,
        "ordinal": opened.ordinal,
    }
    if opened.labels:
        fields.update(opened.labels)
    return fields, payload, _NO_BODIES


# ---- visits of a graph's nodes


def visit_begun(visit: Visit) -> Written:
    """Return the start of a node's step."""
    fields = {
        "event_type": "step_started",
        "step_id": visit.step_id,
        "parent_step_id": visit.outer_id,
        "name": visit.name,
        "lane": visit.lane,
        "status": "running",
    }
    return fields, b"{}", _NO_BODIES


def visit_changed(visit: Visit, changed: Iterable[str]) -> Written:
    """Return which keys of the state a node changed."""
    fields = {
        "event_type": "state_changed",
        "step_id": visit.step_id,
        "name": visit.name,
        "lane": visit.lane,
    }
    return fields, hashing.dumps({"changes": dict.fromkeys(changed)}), _NO_BODIES


def visit_ended(visit: Visit, status: str, took_ms: float, body: dict[str, Any] | None) -> Written:
    """Return the end of a node's step."""
    fields = {
        "event_type": "step_ended",
        "step_id": visit.step_id,
        "parent_step_id": visit.outer_id,
        "name": visit.name,
        "lane": visit.lane,
        "status": status,
        "duration_ms": took_ms,
    }
    return fields, hashing.dumps(body) if body else b"{}", _NO_BODIES
