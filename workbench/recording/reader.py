"""Reads a run's events one by one, and keeps of them what a replay looks at."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import astuple, replace

from workbench import hashing, schema, sharing
from workbench.recording.calls import Calls
from workbench.recording.recording import Problem, Recording, Resume
from workbench.recording.roots import LogRoot

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from workbench.schema import Event

    Bodies = Mapping[str, dict[str, Any]]


HEARD = frozenset(
    {"call_started", "call_ended", "chunk", "run_started", "run_ended", "resumed", "annotated"}
)
"""The types of the events that a recording is made of."""
ROOT = "root["
"""What the name of a step begins with that is a further root of its run."""


def read(events: Iterable[Event], bodies: Bodies) -> Recording:
    """Read a run's events, in order of ``seq``; each may be forgotten when the next one comes."""
    reader = Reader(bodies)
    for event in events:
        reader.take(event)
    return reader.recording()


@dataclass(slots=True)
class _Began:
    """A call that has not come back yet: its start, and whether its signature is its request's."""

    number: int
    event: Event
    request: bytes
    signature: str
    is_signed: bool


class _Asked(Struct):
    request: Raw


class _Came(Struct):
    """What a `workbench.schema.CallEnded` holds, its JSON as it is written."""

    outcome: Raw = Raw(b"null")
    exception: Raw = Raw(b"null")
    usage: Raw = Raw(b"null")
    index: int | None = None
    message_id: str | None = None


class Reader:
    """Takes the events of one run; ``bodies`` are the messages that it names."""

    def __init__(self, bodies: Bodies) -> None:
        self._bodies = bodies
        self._calls = Calls()
        self._log = LogRoot()
        self._events = 0
        self._first_seq: int | None = None
        self._last_seq: int | None = None
        self._started: schema.RunStarted | None = None
        self._writer: str | None = None
        self._ended: schema.RunEnded | None = None
        self._status: str | None = None
        # by their steps: calls under way, ends that came before their starts, streams
        self._began: dict[str, _Began] = {}
        self._early: dict[str, Event] = {}
        self._pieces: dict[str, list[tuple[int, list[Any]]]] = defaultdict(list)
        self._indexes: dict[int, list[int]] = {}
        self._late: dict[int, list[tuple[int, list[Any]]]] = defaultdict(list)
        self._chunks: list[tuple[int, Any]] = []
        self._problems: list[Problem] = []
        self._judged: list[Problem] = []
        self._beside: dict[str, Problem] = {}
        self._out_of_order: list[Problem] = []
        self._numbers: dict[tuple[str, str | None], int] = {}
        self._lacks_messages = False
        self._roots = 1
        self._redaction: list[dict[str, Any]] = []
        self._redacted_later = 0
        self._resumes: list[Resume] = []
        self._earlier: list[dict[str, Any]] = []
        self._remarks: list[tuple[int, str]] = []
        self._world: dict[str, Any] | None = None

    def take(self, event: Event) -> None:
        """Read the next event."""
        digest = event.digest or hashing.event_digest(event)
        self._log.add(event.writer, event.writer_seq, digest)
        self._count(1, event.seq or 0, event.seq or 0)
        self.hear(event)

    def count(
        self, writer: str, seqs: Sequence[int], numbers: Sequence[int], digests: Iterable[str]
    ) -> None:
        """Take note of events of one writer, of each in any order; digests are sha-256 in hex."""
        self._log.add_all(writer, numbers, digests)
        self._count(len(seqs), min(seqs), max(seqs))

    def _count(self, events: int, first: int, last: int) -> None:
        self._events += events
        self._first_seq = first if self._first_seq is None else min(first, self._first_seq)
        self._last_seq = last if self._last_seq is None else max(last, self._last_seq)

    def hear(self, event: Event) -> None:
        """Read what an event says, in order of ``seq``; of most types it is nothing (`HEARD`)."""
        match event.event_type:
            case "call_started":
                self._call_started(event)
            case "call_ended":
                self._call_ended(event)
            case "chunk":
                self._chunk(event)
            case "run_started":
                self._only(event, self._started is None)
                self._root_lost(event, "input")
                self._started = schema.parse_body(event)
                self._writer = event.writer
                self._redaction[:0] = self._started.redaction
            case "run_ended":
                self._only(event, self._ended is None)
                self._root_lost(event, "output")
                self._status = event.status
                self._ended = schema.parse_body(event)
                self._are_redacted_later(self._ended.redaction)
            case "step_started" if _is_root(event):
                self._roots += 1
            case "resumed":
                self._resumed(event)
            case "annotated":
                self._annotated(event)
            case _:
                pass

    # ---- calls

    def _call_started(self, event: Event) -> None:
        step_id = _step_of(event)
        is_first = self._calls.number_of_step(step_id) is None
        self._only(event, is_first)
        if not is_first:
            return
        self._judge_writer(event)
        self._judge_order(event)
        request = _request(event)
        kind, name = event.kind or "tool", event.name or ""
        signature, is_signed = self._signature(step_id, kind, name, request, event.signature)
        number = self._calls.begin(
            step_id,
            request,
            seq=event.seq or 0,
            ordinal=event.ordinal or 1,
            signature=signature,
            kind=kind,
            name=name,
            lane=event.lane or "root",
            effect=event.effect or "unknown",
            quality=event.quality or "full",
        )
        began = _Began(number, event, request, signature, is_signed)
        end = self._early.pop(step_id, None)
        if end is None:
            self._began[step_id] = began
        else:
            self._put(step_id, began, end)

    def _signature(
        self, step_id: str, kind: str, name: str, request: bytes, said: str | None
    ) -> tuple[str, bool]:
        """Return a call's signature, and whether it is that of its request, as far as is known.

        As a rule the request is written as it was signed, and need not be written again.
        """
        if b'"messages"' not in request:
            if said == hashing.signature_of_written(kind, name, request):
                return said, True
            whole = msgspec.json.decode(request)
        else:
            whole = self._calls.whole(step_id, msgspec.json.decode(request))
        found = hashing.signature_of(kind=kind, name=name, request=whole)
        is_signed = not said or said == found or sharing.lacks_beginning(whole)
        return said or found, is_signed

    def _call_ended(self, event: Event) -> None:
        step_id = _step_of(event)
        began = self._began.pop(step_id, None)
        if began is not None:
            self._put(step_id, began, event)
        elif self._calls.number_of_step(step_id) is None and step_id not in self._early:
            self._early[step_id] = event
        else:
            self._only(event, is_first=False)

    def _put(self, step_id: str, began: _Began, end: Event | None) -> None:
        """Put a call aside: it came back, or never will."""
        start, number = began.event, began.number
        came = _Came() if end is None else _what_came(end)
        quality = (end.quality if end else None) or start.quality or "full"
        pieces = sorted(self._pieces.pop(step_id, ()), key=lambda p: p[0])
        if pieces:
            self._indexes[number] = [index for index, _ in pieces]
        fields = [
            start.seq or 0,
            end.seq if end else None,
            step_id,
            start.kind or "tool",
            start.name or "",
            start.lane or "root",
            start.ordinal or 1,
            began.signature,
            start.effect or "unknown",
            quality,
            start.order or "declared",
            str((end and end.status) or "running"),
            Raw(began.request),
            came.outcome,
            came.exception,
            came.usage,
            came.message_id,
            [one for _, one in pieces] or None,
            _tokens(end),
            came.index,
            end.started_at.timestamp() if end and end.started_at else None,
        ]
        self._calls.keep(number, fields, ended_seq=end.seq if end else None, quality=quality)
        self._judge(began, end, came, quality)

    def _chunk(self, event: Event) -> None:
        body: schema.Chunk = schema.parse_body(event)
        step_id = event.step_id
        number = None if step_id is None else self._calls.number_of_step(step_id)
        if step_id is None:
            self._chunks.append((body.index, body.pieces))
        elif number is None or step_id in self._began:
            self._pieces[step_id].append((body.index, body.pieces))
        else:
            self._late[number].append((body.index, body.pieces))

    def _add_late(self, number: int, late: list[tuple[int, list[Any]]]) -> None:
        """Add pieces to a call that had ended when they came."""
        call = self._calls[number]
        known = zip(self._indexes.get(number, ()), call.pieces or (), strict=True)
        pieces = sorted([*known, *late], key=lambda p: p[0])
        fields = [*astuple(replace(call, pieces=tuple(one for _, one in pieces)))]
        self._calls.keep(number, fields, ended_seq=call.ended_seq, quality=call.quality)

    # ---- everything else

    def _only(self, event: Event, is_first: bool) -> None:  # noqa: FBT001 - a fact of the event
        if not is_first:
            what = f"{event.event_type} of {event.kind} {event.name}" if event.kind else None
            self._problem("doubled", event, f"{what or event.event_type} is written twice")

    def _root_lost(self, event: Event, what: str) -> None:
        if event.quality not in (None, "full", "redacted"):
            reason = f"the run's {what} is {event.quality}: it cannot be restored"
            self._problem("capture_quality", event, reason)

    def _resumed(self, event: Event) -> None:
        body: schema.Resumed = schema.parse_body(event)
        if not isinstance(body.value, dict) or "entry" not in body.value:
            return  # by the agent's own code, which a replay runs again
        self._root_lost(event, "resume")
        said = {key: body.value.get(key) for key in ("entry", "input", "config")}
        self._resumes.append(
            Resume(
                seq=event.seq or 0,
                started=schema.RunStarted(**{k: v for k, v in said.items() if v is not None}),
                answers=tuple(body.value.get("answers") or ()),
            )
        )

    def _are_redacted_later(self, layers: list[Any]) -> None:
        self._redaction += layers
        self._redacted_later += len(layers)

    def _annotated(self, event: Event) -> None:
        body: schema.Annotated = schema.parse_body(event)
        if body.message is not None and body.index is not None:
            self._remarks.append((body.index, body.message))
        if body.label == "earlier_state":
            self._root_lost(event, "thread's earlier state")
            self._earlier.append(body.value)
        if body.label == "world" and isinstance(body.value, dict):
            self._world = self._world or body.value
        if body.label == "redaction" and isinstance(body.value, list):
            self._are_redacted_later(body.value)
        if body.label == "capture_gap":
            gap = body.value if isinstance(body.value, dict) else {}
            reason = f"{gap.get('kind')} {gap.get('name')} was not recorded: {gap.get('reason')}"
            self._problem("capture_gap", event, reason)

    # ---- what an exact replay would lack

    def _problem(self, kind: str, event: Event, reason: str) -> None:
        self._problems.append(_told(kind, event, reason))

    def _judge_writer(self, event: Event) -> None:
        """Find the calls of other processes: a replay has none that could ask again."""
        if event.writer not in self._beside:
            reason = f"{event.kind} {event.name} was called by another process of the agent"
            self._beside[event.writer] = _told("other_process", event, reason)

    def _judge_order(self, event: Event) -> None:
        """Find calls that did not begin in the order of their numbers in their lane."""
        if event.order not in (None, "declared"):
            return
        before = self._numbers.get((event.writer, event.lane), 0)
        number = self._numbers[event.writer, event.lane] = event.ordinal or 1
        if number < before:
            reason = f"{event.kind} {event.name} is number {number}, and stands behind {before}"
            self._out_of_order.append(_told("order", event, reason))

    def _judge(self, began: _Began, end: Event | None, came: _Came, quality: str) -> None:
        start, reason = began.event, None
        named = f"{start.kind or 'tool'} {start.name or ''}"
        if end is None or end.seq is None:
            reason = f"{named} never came back"
        elif quality not in ("full", "redacted"):
            reason = f"{named} is {quality}: it cannot be restored"
        elif start.order not in (None, "declared"):
            reason = f"{named} ran beside another call of its lane"
        elif self._lacks_answer(came):
            reason = f"the answer of {named} is not in the recording"
        elif not began.is_signed:
            reason = f"the signature of {named} is not that of its request"
        if reason is not None:
            self._judged.append(_told("capture_quality", start, reason))

    def _lacks_answer(self, came: _Came) -> bool:
        written = bytes(came.outcome)
        if b'"message"' not in written:
            return False
        digest = msgspec.json.decode(written).get("message")
        lacks = digest is not None and not (isinstance(digest, str) and digest in self._bodies)
        self._lacks_messages = self._lacks_messages or lacks
        return lacks

    # ---- all of it

    def recording(self) -> Recording:
        """Return what was read."""
        for step_id, began in self._began.items():
            self._put(step_id, began, None)
        for number, late in self._late.items():
            self._add_late(number, late)
        self._calls.close()
        beside = [
            told
            for writer, told in self._beside.items()
            if self._writer is not None and writer != self._writer
        ]
        problems = [*self._problems, *self._judged, *beside, *self._out_of_order]
        return Recording(
            calls=self._calls,
            started=self._started,
            ended=self._whole_end(),
            status=self._status,
            bodies=self._bodies,
            log_root=self._log.root,
            events=self._events,
            first_seq=self._first_seq,
            last_seq=self._last_seq,
            writers=self._log.last_numbers,
            problems=tuple(sorted(problems, key=lambda p: p.seq or 0)),
            chunks=tuple(pieces for _, pieces in sorted(self._chunks, key=lambda c: c[0])),
            roots=self._roots,
            redaction=tuple(one for one in self._redaction if isinstance(one, dict)),
            redacted_later=self._redacted_later,
            resumes=tuple(self._resumes),
            earlier=tuple(self._earlier),
            remarks=tuple(self._remarks),
            world=self._world,
            lacks_messages=self._lacks_messages,
        )

    def _whole_end(self) -> schema.RunEnded | None:
        if self._ended is None:
            return None
        output = sharing.with_bodies(self._ended.output, lambda: self._bodies)
        return replace(self._ended, output=output)


def _is_root(event: Event) -> bool:
    return (event.name or "").startswith(ROOT) and event.name == event.lane


def _step_of(event: Event) -> str:
    return event.step_id or f"#{event.seq or 0}"


def _told(kind: str, event: Event, reason: str) -> Problem:
    return Problem(kind=kind, seq=event.seq, lane=event.lane, reason=reason)


_asked = msgspec.json.Decoder(_Asked).decode
_came = msgspec.json.Decoder(_Came).decode


def _request(event: Event) -> bytes:
    """Return a call's request as it is written."""
    try:
        found = bytes(_asked(event.payload).request)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        found = b""
    if not found.startswith(b"{"):
        schema.parse_body(event)  # says what is wrong
    return found


def _what_came(event: Event) -> _Came:
    """Return what came of a call as it is written."""
    try:
        found = _came(event.payload)
        said = (found.outcome, found.exception, found.usage)
        is_sound = all(bytes(one)[:1] in (b"{", b"n") for one in said)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        is_sound, found = False, _Came()
    if not is_sound:
        schema.parse_body(event)  # says what is wrong
    return found


_TOKENS = (
    "input_tokens",
    "input_uncached",
    "cache_read",
    "cache_write",
    "output_tokens",
    "reasoning_tokens",
    "cost_usd",
)


def _tokens(end: Event | None) -> dict[str, float]:
    if end is None:
        return {}
    told = ((name, getattr(end, name)) for name in _TOKENS)
    return {name: value for name, value in told if value is not None and math.isfinite(value)}
