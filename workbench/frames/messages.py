"""The messages of a run as a frame: what stood in the conversation, in order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import polars as pl

from workbench import sharing
from workbench.frames.lanes import in_spawn_order
from workbench.hashing import dumps
from workbench.schema import Event, message_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence


Body = dict[str, Any]
_Placed = tuple[int, Body, int | None]

MESSAGES: dict[str, pl.DataType | type[pl.DataType]] = {
    "index": pl.Int64,
    "role": pl.String,
    "text": pl.String,
    "tool_calls": pl.List(pl.Struct({"name": pl.String, "arguments": pl.String})),
    "tool": pl.String,
    "error": pl.String,
    "seq": pl.Int64,
}
"""One row per message: ``arguments`` is canonical JSON, ``seq`` the event that holds it."""


def messages(events: Sequence[Event], bodies: Mapping[str, Body]) -> pl.DataFrame:
    """Return the messages of a run, with the columns `MESSAGES`, in order of ``index``.

    Parameters
    ----------
    events
        All events of one run in order of ``seq``.
    bodies
        The run's message bodies by digest.

    Returns
    -------
    polars.DataFrame
        Of an imported run every message under the source's own index. Of a recorded run the
        messages of its input, then what each model and tool call gave, lanes in the order in which
        they were spawned, depth first, and calls by ordinal: never by completion.
    """
    return pl.DataFrame(message_rows(events, bodies), schema=MESSAGES, orient="row")


def message_rows(events: Sequence[Event], bodies: Mapping[str, Body]) -> list[dict[str, Any]]:
    """Return the rows of `messages` as dicts."""
    parsed = [
        (_seq(i, event), event, orjson.loads(bytes(event.payload)))
        for i, event in enumerate(events)
    ]
    found = _imported(parsed, bodies)
    placed = found if found is not None else _recorded(parsed, bodies)
    return [_row(index, body, seq) for index, body, seq in placed]


def _seq(position: int, event: Event) -> int:
    """Return the event's seq; before a server gave one, its place."""
    return event.seq if event.seq is not None else position + 1


_Parsed = list[tuple[int, "Event", dict[str, Any]]]


def _imported(parsed: _Parsed, bodies: Mapping[str, Body]) -> list[_Placed] | None:
    """Return messages by the source's own index; null when no event has one."""
    held: dict[int, tuple[str, int]] = {}
    quoted: dict[int, tuple[str, int]] = {}
    whole = sharing.Unfolding().whole
    for seq, event, payload in parsed:
        index, digest = payload.get("index"), _digest(payload)
        if digest is not None and isinstance(index, int) and event.event_type != "chunk":
            held.setdefault(index, (digest, seq))
        for i, each in enumerate(_request(event, payload, whole)):
            quoted.setdefault(i, (each, seq))
    start = next(((seq, e, p) for seq, e, p in parsed if e.event_type == "run_started"), None)
    if not held and not (start is not None and start[1].writer == "import"):
        return None
    if start is not None:
        for i, digest in enumerate(_pooled(start[2])):
            held.setdefault(i, (digest, start[0]))
    every = quoted | held
    return [(i, bodies[every[i][0]], every[i][1]) for i in sorted(every) if every[i][0] in bodies]


def _digest(payload: dict[str, Any]) -> str | None:
    """Return the digest of the message an event holds."""
    outcome = payload.get("outcome")
    said = outcome.get("message") if isinstance(outcome, dict) else payload.get("message")
    return said if isinstance(said, str) else None


def _request(event: Event, payload: dict[str, Any], whole: Any) -> list[str]:
    if event.event_type != "call_started" or event.kind != "model":
        return []
    said = whole(event.step_id, payload.get("request") or {}).get("messages")
    return said if isinstance(said, list) else []


def _pooled(payload: dict[str, Any]) -> list[str]:
    said = payload.get("input")
    if not payload.get("pooled") or not isinstance(said, dict):
        return []
    return [digest for digest in said.get("messages") or [] if isinstance(digest, str)]


def _recorded(parsed: _Parsed, bodies: Mapping[str, Body]) -> list[_Placed]:
    found: list[tuple[Body, int | None]] = []
    for seq, event, payload in parsed:
        if event.event_type == "run_started":
            found += [(body, seq) for body in _input(payload, bodies)]
    found += _outcomes(parsed, bodies)
    return [(index, body, seq) for index, (body, seq) in enumerate(found)]


def _input(payload: dict[str, Any], bodies: Mapping[str, Body]) -> Iterator[Body]:
    """Give the messages of a run's input, pooled or written out."""
    if payload.get("pooled"):
        yield from (bodies[digest] for digest in _pooled(payload) if digest in bodies)
        return
    said = payload.get("input")
    listed = said.get("messages") if isinstance(said, dict) else said
    for item in listed if isinstance(listed, list) else []:
        if isinstance(item, dict) and isinstance(item.get("role"), str):
            yield item


def _outcomes(parsed: _Parsed, bodies: Mapping[str, Body]) -> Iterable[tuple[Body, int]]:
    ended = {e.step_id: (seq, e, p) for seq, e, p in parsed if e.event_type == "call_ended"}
    started = [e for _, e, _ in parsed if e.event_type == "call_started"]
    for event in in_spawn_order(started):
        end = ended.get(event.step_id)
        if end is None or event.kind not in ("model", "tool"):
            continue
        body = _outcome(event, end[2], bodies)
        if body is not None:
            yield body, end[0]


def _outcome(event: Event, payload: dict[str, Any], bodies: Mapping[str, Body]) -> Body | None:
    digest = _digest(payload)
    if digest is not None and digest in bodies:
        body = bodies[digest]
        return body if event.kind == "model" or body.get("name") else {**body, "name": event.name}
    if event.kind == "model":
        return None
    body = {"role": "tool", "content": _written(payload.get("outcome")), "name": event.name}
    raised = payload.get("exception")
    if isinstance(raised, dict):
        body["error"] = str(raised.get("message") or raised.get("class") or "error")
    return body


def _written(outcome: Any) -> str | None:
    value = outcome.get("value") if isinstance(outcome, dict) else None
    return value if value is None or isinstance(value, str) else dumps(value).decode()


def _row(index: int, body: Body, seq: int | None) -> dict[str, Any]:
    error = body.get("error")
    return {
        "index": index,
        "role": body.get("role"),
        "text": message_text(body.get("content")),
        "tool_calls": [
            {"name": call.get("name"), "arguments": dumps(call.get("arguments")).decode()}
            for call in body.get("tool_calls") or []
        ],
        "tool": body.get("name") if body.get("role") == "tool" else None,
        "error": ("true" if error is True else str(error)) if error else None,
        "seq": seq,
    }
