"""A trace becomes a run: header, events, pooled bodies. The same trace gives the same bytes."""

from __future__ import annotations

import builtins
import hashlib
from typing import TYPE_CHECKING, Any

import msgspec
import orjson

from workbench.errors import MalformedFile
from workbench.formats.pairing import pair
from workbench.formats.trace import LEADING, Counts, Imported
from workbench.formats.values import arguments_of, is_too_deep
from workbench.hashing import content_hash, dumps, sha256_hex, signature_of
from workbench.schema import Event, RunHeader, message_text
from workbench.sharing import Folding

if TYPE_CHECKING:
    from datetime import datetime

    from workbench.formats.trace import Call, Message, Trace

WRITER = "import"
_ROOT = "root"
_encode = msgspec.json.Encoder().encode


def imported(trace: Trace) -> Imported:
    """Return the run that a trace describes.

    System messages at the beginning are the run's input; a user's message is a `human` call, an
    assistant's a `model` call whose request is everything before it, and each tool call with its
    answer a `tool` call. All of it is ``reconstructed`` in an ``inferred`` order.

    Raises
    ------
    MalformedFile
        A value is nested too deeply to be stored.
    """
    log = _Log()
    try:
        body_digests = [log.pool(_body(m)) for m in trace.messages]
        _Conversation(trace=trace, log=log, digests=body_digests).write()
    except (orjson.JSONEncodeError, RecursionError) as error:
        raise MalformedFile("a value cannot be stored as JSON", found=str(error)) from error
    return Imported(
        header=RunHeader(name=trace.name, agent=trace.agent, labels=trace.labels),
        events=log.events,
        bodies=log.bodies,
        counts=counts(trace),
    )


def counts(trace: Trace) -> Counts:
    """Count what the trace holds."""
    errors = sum(1 for m in trace.messages if m.role == "tool" and m.error)
    return Counts(
        messages=len(trace.messages),
        tool_calls=sum(len(m.calls) for m in trace.messages),
        tool_errors=errors if trace.has_error_flag else None,
        cost_unknown=not trace.has_costs or any(_cost_unknown(m) for m in trace.messages),
    )


def _cost_unknown(message: Message) -> bool:
    return message.role in ("assistant", "user") and message.cost_usd is None


def _body(message: Message) -> dict[str, Any]:
    body: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.calls:
        body["tool_calls"] = [_call_body(call) for call in message.calls]
    if message.reply_to:
        body["tool_call_id"] = message.reply_to
    if message.name:
        body["name"] = message.name
    if message.error:
        body["error"] = message.error
    if message.extra:
        body["extra"] = message.extra
    return body


def _call_body(call: Call) -> dict[str, Any]:
    body = {"name": call.name, "arguments": arguments_of(call.arguments)}
    return {"id": call.id, **body} if call.id else body


def _sound(raw: bytes) -> bytes:
    if is_too_deep(raw):
        raise MalformedFile("a value is nested too deeply to be stored")
    return raw


class _Log:
    """The events and bodies written so far."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.bodies: dict[str, dict[str, Any]] = {}

    def pool(self, body: dict[str, Any]) -> str:
        raw = _sound(dumps(body))
        digest = sha256_hex(raw)
        self.bodies[digest] = body
        return digest

    def add(self, payload: dict[str, Any], **envelope: Any) -> None:
        """Append one event, sealed as `hashing.sealed` does it, with a single encoding."""
        event = Event(writer=WRITER, writer_seq=len(self.events) + 1, **envelope)
        raw = _sound(dumps(payload))
        hasher = hashlib.sha256(_encode(event))
        hasher.update(b"\n")
        hasher.update(raw)
        self.events.append(
            msgspec.structs.replace(event, payload=msgspec.Raw(raw), digest=hasher.hexdigest())
        )


class _Conversation:
    """Walks the messages of one trace and writes what each of them means."""

    def __init__(self, *, trace: Trace, log: _Log, digests: list[str]) -> None:
        self.trace = trace
        self.log = log
        self.digests = digests
        self.answered = pair(trace.messages)
        self.ordinals: dict[str, int] = {}
        self.requests: dict[str, dict[str, Any]] = {}
        self.folding = Folding()
        self.greeted = False
        self.before: datetime | None = trace.started_at

    def write(self) -> None:
        leading = self._leading()
        self._start(leading)
        for message in self.trace.messages[leading:]:
            self._message(message)
            self.before = message.at or self.before
        self._end()

    def _leading(self) -> int:
        """Count the system messages before anything else."""
        roles = [m.role for m in self.trace.messages]
        return next((i for i, role in enumerate(roles) if role not in LEADING), len(roles))

    def _start(self, leading: int) -> None:
        payload: dict[str, Any] = {"input": {"messages": self.digests[:leading]}, "pooled": True}
        if self.trace.config:
            payload["config"] = self.trace.config
        self.log.add(payload, event_type="run_started", started_at=self.trace.started_at)

    def _message(self, message: Message) -> None:
        if message.role == "tool":
            self._answer(message)
        elif message.role in LEADING:
            self._annotate(message, label=message.role)
        elif message.role == "assistant" and self._is_greeting(message):
            self._annotate(message, label="greeting")
        else:
            self._spoken(message)
        self._ask(message)

    def _is_greeting(self, message: Message) -> bool:
        """Say whether an assistant spoke first and free: a canned line, not a model's answer."""
        return (
            all(m.role in LEADING for m in self.trace.messages[: message.index])
            and not message.calls
            and not message.usage
            and message.cost_usd == 0
        )

    def _annotate(self, message: Message, *, label: str) -> None:
        digest = self.digests[message.index]
        payload = {"label": label, "message": digest, "index": message.index}
        self.log.add(payload, event_type="annotated", started_at=message.at)

    def _spoken(self, message: Message) -> None:
        """Write a user's or an assistant's message as the outcome of a call in the root lane."""
        human = message.role == "user"
        kind, name = ("human", "user") if human else ("model", self.trace.model or "assistant")
        request: dict[str, Any] = {}
        if not human:
            request = {"messages": self.digests[: message.index]}
            if self.trace.model:
                request["model"] = self.trace.model
            if self.trace.model_params:
                request["params"] = self.trace.model_params
        step = {
            "step_id": str(message.index),
            "kind": kind,
            "name": name,
            "lane": _ROOT,
            "ordinal": self._next(_ROOT),
            "quality": "reconstructed",
        }
        stored = self.folding.fold(_ROOT, str(message.index), request)
        self._call_started(step, request, at=self.before, stored=stored)
        self._call_ended(step, request, message, begun=self.before)

    def _ask(self, message: Message) -> None:
        """Write the start of every tool call that the message asks for."""
        group = "user_tools" if message.role == "user" else "tools"
        for position, call in enumerate(message.calls):
            lane = f"{_ROOT}/{group}[{position}]"
            step = self._tool_step(f"{message.index}.{position}", call.name, lane)
            request = {"arguments": arguments_of(call.arguments)}
            self._call_started(step, request, at=message.at, effect="unknown")
            self.requests[step["step_id"]] = {"step": step, "request": request, "at": message.at}

    def _tool_step(self, step_id: str, name: str, lane: str) -> dict[str, Any]:
        return {
            "step_id": step_id,
            "kind": "tool",
            "name": name,
            "lane": lane,
            "ordinal": self._next(lane),
            "quality": "reconstructed",
        }

    def _answer(self, message: Message) -> None:
        place = self.answered.get(message.index)
        asked = self.requests.get(f"{place[0]}.{place[1]}") if place else None
        if asked is None:
            asked = self._unasked(message)
        self._call_ended(asked["step"], asked["request"], message, begun=asked["at"])

    def _unasked(self, message: Message) -> dict[str, Any]:
        """Write a call for an answer that nobody asked for, named by the source."""
        said = message.replied
        name = (said.name if said else message.name) or "tool"
        step = self._tool_step(str(message.index), name, f"{_ROOT}/?0")
        request = {"arguments": arguments_of(said.arguments) if said else {}}
        self._call_started(step, request, at=self.before, effect="unknown")
        return {"step": step, "request": request, "at": self.before}

    def _next(self, lane: str) -> int:
        self.ordinals[lane] = self.ordinals.get(lane, 0) + 1
        return self.ordinals[lane]

    def _call_started(
        self,
        step: dict[str, Any],
        request: dict[str, Any],
        *,
        at: datetime | None,
        effect: str | None = None,
        stored: dict[str, Any] | None = None,
    ) -> None:
        self.log.add(
            {"request": stored or request},
            event_type="call_started",
            signature=signature_of(kind=step["kind"], name=step["name"], request=request),
            order="inferred",
            status="running",
            started_at=at,
            effect=effect,
            **step,
        )

    def _call_ended(
        self,
        step: dict[str, Any],
        request: dict[str, Any],
        message: Message,
        *,
        begun: datetime | None,
    ) -> None:
        outcome = {"message": self.digests[message.index]}
        payload: dict[str, Any] = {"outcome": outcome, "index": message.index}
        if message.usage:
            payload["usage"] = message.usage
        if message.error:
            payload["exception"] = _exception(message)
        self.log.add(
            payload,
            event_type="call_ended",
            status="error" if message.error else "ok",
            started_at=message.at,
            duration_ms=_elapsed(begun, message.at),
            cost_usd=message.cost_usd,
            content_hash=content_hash(
                kind=step["kind"], name=step["name"], request=request, outcome=outcome
            ),
            **_tokens(message.usage),
            **step,
        )

    def _end(self) -> None:
        for label, value in self.trace.remarks:
            payload = {"label": label, "value": value}
            self.log.add(payload, event_type="annotated", started_at=self.trace.ended_at)
        payload = {"writers": {WRITER: len(self.log.events) + 1}}
        last = self.trace.messages[-1] if self.trace.messages else None
        if last is not None and last.role == "assistant":
            payload["output"] = message_text(last.content)
        if self.trace.failure is not None:
            payload["exception"] = _raised(self.trace.failure)
        self.log.add(
            payload,
            event_type="run_ended",
            status=self.trace.status,
            started_at=self.trace.ended_at,
            duration_ms=self.trace.duration_ms,
        )


def _exception(message: Message) -> dict[str, Any]:
    said = message.error if isinstance(message.error, str) else message_text(message.content)
    return _raised(said)


def _raised(text: str) -> dict[str, Any]:
    """Describe an error that the source wrote as ``ValueError: what happened`` or in free text."""
    name, colon, rest = text.partition(": ")
    if colon and isinstance(getattr(builtins, name, None), type):
        return {"class": f"builtins:{name}", "message": rest, "args": [rest]}
    return {"class": "builtins:Exception", "message": text, "args": [text]}


def _elapsed(begun: datetime | None, ended: datetime | None) -> float | None:
    if begun is None or ended is None or ended < begun:
        return None
    return (ended - begun).total_seconds() * 1000


def _tokens(usage: dict[str, Any] | None) -> dict[str, int]:
    """Return the token counts of an OpenAI-style usage record as columns."""
    if not usage:
        return {}
    names = {"prompt_tokens": "input_tokens", "completion_tokens": "output_tokens"}
    return {
        column: usage[key]
        for key, column in names.items()
        if type(usage.get(key)) is int and usage[key] >= 0
    }
