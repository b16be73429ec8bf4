"""One side of a diff: a run's messages and calls, read once, without what differs by nature."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from workbench import sharing
from workbench.diff.messages import key as message_key
from workbench.frames.messages import message_rows
from workbench.hashing import comparable, dumps
from workbench.schema import message_text

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    from workbench.schema import Event

Body = dict[str, Any]


class Recorded(Protocol):
    """What a diff needs of a run; `workbench.store.Run` has it."""

    @property
    def run_id(self) -> str: ...

    @property
    def name(self) -> str | None: ...

    @property
    def source(self) -> str | None: ...

    @property
    def labels(self) -> dict[str, Any]: ...

    def event_log(self) -> list[Event]: ...

    def bodies(self) -> dict[str, Body]: ...


@dataclass(slots=True, kw_only=True)
class CallView:
    """A call with its keys: ``asked`` (core signature), ``came`` (outcome), both without ids."""

    seq: int
    kind: str
    name: str
    lane: str
    ordinal: int
    request: dict[str, Any]
    asked: Hashable
    outcome: dict[str, Any] | None = None
    exception: dict[str, Any] | None = None
    came: Hashable = None
    message: Body | None = None
    index: int | None = None
    ended_seq: int | None = None
    status: str = "running"
    content_hash: int | None = None
    cost_usd: float | None = None
    tokens: tuple[int | None, int | None] = (None, None)
    duration_ms: float | None = None

    @property
    def asks_for(self) -> tuple[str, ...]:
        """Return the names of the tools that the call's answer asks for."""
        return tuple(call["name"] for call in (self.message or {}).get("tool_calls") or [])


@dataclass(slots=True, kw_only=True)
class Side:
    """Everything about one run that the sections compare."""

    run_id: str
    name: str | None
    source: str | None
    labels: dict[str, Any]
    rows: list[dict[str, Any]]
    calls: list[CallView] = field(default_factory=list)
    bodies: Mapping[str, Body] = field(default_factory=dict)
    status: str = "running"
    output: Any = None
    exception: dict[str, Any] | None = None
    ended_seq: int | None = None
    duration_ms: float | None = None

    @property
    def title(self) -> str:
        """Return what to call the run."""
        return self.source or self.name or self.run_id

    def of(self, kind: str) -> list[CallView]:
        """Return the calls of one kind."""
        return [call for call in self.calls if call.kind == kind]


def side(run: Recorded) -> Side:
    """Read a run."""
    events, bodies = run.event_log(), run.bodies()
    found = Side(
        run_id=run.run_id,
        name=run.name,
        source=run.source,
        labels=run.labels,
        rows=message_rows(events, bodies),
        bodies=bodies,
    )
    _Reader(found).read(events)
    return found


class _Reader:
    def __init__(self, found: Side) -> None:
        self.side = found
        self.open: dict[str | None, CallView] = {}
        self.keys: dict[str, Hashable] = {}
        self.whole = sharing.Unfolding().whole

    def read(self, events: list[Event]) -> None:
        begun = None
        for at, event in enumerate(events, start=1):
            if event.event_type == "run_started":
                begun = event.started_at
            elif event.event_type == "call_started":
                self._start(event, at)
            elif event.event_type == "call_ended":
                self._end(event, at)
            elif event.event_type == "run_ended":
                self._close(event, at)
                if self.side.duration_ms is None and begun and event.started_at:
                    self.side.duration_ms = (event.started_at - begun).total_seconds() * 1000

    def _start(self, event: Event, at: int) -> None:
        said = orjson.loads(bytes(event.payload)).get("request") or {}
        request = self.whole(event.step_id, said)
        call = CallView(
            seq=event.seq or at,
            kind=event.kind or "",
            name=event.name or "",
            lane=event.lane or "root",
            ordinal=event.ordinal or 0,
            request=request,
            asked=self._asked(event.kind, request),
        )
        self.open[event.step_id] = call
        self.side.calls.append(call)

    def _asked(self, kind: str | None, request: dict[str, Any]) -> Hashable:
        if kind != "model":
            return dumps(request)
        params = {k: v for k, v in request.items() if k != "messages"}
        # one number for the whole conversation, which is looked up in every round of pairing
        return hash((dumps(params), *map(self._key, request.get("messages") or [])))

    def _key(self, digest: str) -> Hashable:
        """Return a message's key without ids; of a body that is not there, its digest."""
        if digest not in self.keys:
            body = self.side.bodies.get(digest)
            self.keys[digest] = digest if body is None else hash(body_key(body))
        return self.keys[digest]

    def _end(self, event: Event, at: int) -> None:
        call = self.open.get(event.step_id)
        if call is None:
            return
        payload = orjson.loads(bytes(event.payload))
        call.outcome, call.exception = payload.get("outcome"), payload.get("exception")
        call.index = payload.get("index")
        digest = (call.outcome or {}).get("message")
        call.message = self.side.bodies.get(digest) if isinstance(digest, str) else None
        call.came = (
            self._key(digest) if isinstance(digest, str) else dumps([call.outcome, call.exception])
        )
        call.status, call.ended_seq = event.status or "ok", event.seq or at
        call.content_hash, call.cost_usd = event.content_hash, event.cost_usd
        call.tokens = (event.input_tokens, event.output_tokens)
        call.duration_ms = event.duration_ms

    def _close(self, event: Event, at: int) -> None:
        payload = orjson.loads(bytes(event.payload))
        self.side.status = event.status or "done"
        output = sharing.with_bodies(payload.get("output"), lambda: self.side.bodies)
        self.side.output = comparable(output)
        self.side.exception = payload.get("exception")
        self.side.duration_ms, self.side.ended_seq = event.duration_ms, event.seq or at


def body_key(body: Body) -> Hashable:
    """Return the key of a message's body: the one of `messages.key`."""
    calls = [
        {"name": call.get("name"), "arguments": dumps(call.get("arguments"))}
        for call in body.get("tool_calls") or []
    ]
    text, error = message_text(body.get("content")), body.get("error")
    row = {"role": body.get("role"), "text": text, "tool_calls": calls, "error": error}
    return message_key(row)
