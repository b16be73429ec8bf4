"""The event, version 1: a typed envelope and a body for each event type.

An event travels and is stored as one JSON object. The envelope's fields are columns everywhere;
``payload`` is the body, opaque bytes to Postgres, and holds no fact of the envelope. Times are UTC
with microseconds, ``*_ms`` are milliseconds, ``*_usd`` are US dollars.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated as Of
from typing import Any, Literal, get_args

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from workbench.errors import InvalidEvent, UnknownSchemaVersion

SCHEMA_VERSION = 1

EventType = Literal[
    "run_started",
    "step_started",
    "step_ended",
    "call_started",
    "call_ended",
    "chunk",
    "state_changed",
    "interrupted",
    "resumed",
    "human_requested",
    "human_responded",
    "artifact_created",
    "annotated",
    "run_ended",
]
Kind = Literal[
    "model",
    "retriever",
    "tool",
    "planner",
    "validator",
    "safety",
    "http",
    "clock",
    "random",
    "env",
    "human",
    "agent",
]
StepStatus = Literal["running", "ok", "error", "cancelled"]
RunStatus = Literal["running", "waiting", "done", "failed", "cancelled", "diverged", "lost"]
Health = Literal["ok", "gap", "incomplete", "privacy_risk"]
Effect = Literal["pure", "read", "write", "irreversible", "unknown"]
Quality = Literal["full", "redacted", "truncated", "reconstructed", "lossy"]
Order = Literal["declared", "inferred"]
Mode = Literal["exact", "cached", "simulated", "live"]
MatchLevel = Literal[
    "exact",
    "exact_redacted",
    "normalised",
    "lane",
    "run",
    "kin",
    "simulated",
    "live",
    "edited",
    "refused",
    "miss",
]

EVENT_TYPES: tuple[str, ...] = get_args(EventType)
KINDS: tuple[str, ...] = get_args(Kind)
RUN_STATUSES: tuple[str, ...] = get_args(RunStatus)
ENDED_STATUSES: tuple[str, ...] = ("done", "failed", "cancelled", "diverged")

Int64 = Of[int, Meta(ge=-(2**63), le=2**63 - 1)]
Count = Of[int, Meta(ge=0, le=2**63 - 1)]
Amount = Of[float, Meta(ge=0)]

EMPTY = Raw(b"{}")


class Event(
    Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, gc=False
):
    """One event: the envelope's columns in alphabetical order, and the raw JSON of its body.

    ``writer_seq`` counts a writer's events from 1. ``status`` is a step's status, or the run's on
    ``run_ended``. ``signature`` and ``digest`` are hex sha-256; ``content_hash`` is a signed 64-bit
    integer. ``seq`` and ``received_at`` are given by the server and stand outside the digest.
    """

    attempt_of: str | None = None
    cache_read: Count | None = None
    cache_write: Count | None = None
    content_hash: Int64 | None = None
    cost_usd: Amount | None = None
    digest: str | None = None
    duration_ms: Amount | None = None
    effect: Effect | None = None
    event_type: EventType
    input_tokens: Count | None = None
    input_uncached: Count | None = None
    kind: Kind | None = None
    lane: str | None = None
    match_level: MatchLevel | None = None
    mode: Mode | None = None
    name: str | None = None
    order: Order | None = None
    ordinal: Count | None = None
    output_tokens: Count | None = None
    parent_step_id: str | None = None
    payload: Raw = EMPTY
    quality: Quality | None = None
    reasoning_tokens: Count | None = None
    received_at: datetime | None = None
    seq: Count | None = None
    signature: str | None = None
    started_at: datetime | None = None
    status: StepStatus | RunStatus | None = None
    step_id: str | None = None
    version: int = SCHEMA_VERSION
    writer: str
    writer_seq: Of[int, Meta(ge=1, le=2**63 - 1)]


class RunStarted(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How the root was called: enough to call it again.

    ``entry_point`` is ``module:attribute`` or null. ``entry`` has ``method`` (``call``, ``invoke``,
    ``ainvoke``, ``stream``, ``astream``), ``stream_mode`` and the config's ``configurable``.
    ``input`` is canonical JSON, or ``{"messages": [digest, …]}`` where ``pooled``. ``code`` has
    ``modules`` (name → sha-256 of its source) and ``distributions`` (name → version).
    ``redaction`` tells by which rules the run was redacted, a layer each: ``rules``, ``key`` (the
    id of the key) and ``key_version``, or ``hook``.
    """

    entry_point: str | None = None
    entry: dict[str, Any] = {}
    input: Any = None
    pooled: bool = False
    config: dict[str, Any] = {}
    code: dict[str, Any] = {}
    redaction: list[dict[str, Any]] = []


class StepStarted(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A timed unit inside the agent's own code begins: a graph node, a subgraph, a turn."""

    input: Any = None


class StepEnded(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A unit ends, with what it gave back or raised.

    ``output`` may name messages of the run, and what an earlier step gave back (see
    `workbench.sharing`).
    """

    output: Any = None
    exception: dict[str, Any] | None = None


class CallStarted(Struct, frozen=True, kw_only=True):
    """A call crosses the agent's boundary.

    ``request`` of a model call: ``messages`` (digests of pooled bodies) and its parameters
    (``model``, ``tools``, ``tool_choice``, ``stop``, …); of a tool ``arguments``; of a retriever
    ``query``. What a model's request shares with an earlier one of its run is written once: see
    `workbench.sharing`.
    """

    request: dict[str, Any]


class CallEnded(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What came back, or what was raised.

    ``outcome`` is ``{"message": digest}`` where it is a message (pooled), ``{"documents": […]}``
    for a retriever, else ``{"value": …}``; of a generator that returned something also
    ``returned``. ``exception`` has ``class`` (``module:name``), ``message`` and ``args``. ``usage``
    is the source's own usage record. ``index`` is the source's own number of the message,
    ``message_id`` the id that was left out of the message's digest.
    """

    outcome: dict[str, Any] | None = None
    exception: dict[str, Any] | None = None
    usage: dict[str, Any] | None = None
    index: int | None = None
    message_id: str | None = None


class Chunk(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Pieces of a stream since the last chunk event; ``at_ms`` counts from the call's start."""

    index: int
    pieces: list[Any] = []
    at_ms: float | None = None


class StateChanged(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Keys of the agent's state that changed."""

    changes: dict[str, Any] = {}


class Interrupted(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The agent stopped to wait."""

    value: Any = None


class Resumed(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The agent went on."""

    value: Any = None


class HumanRequested(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Whom a human request went to, by which channel, until when."""

    to: str | None = None
    channel: str | None = None
    deadline: datetime | None = None


class HumanResponded(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who answered a human request."""

    by: str | None = None


class ArtifactCreated(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A file or value kept beside the log, by its sha-256."""

    sha256: str
    media_type: str = "application/octet-stream"
    size: int = 0
    entity_type: str | None = None
    tags: list[str] = []


class Annotated(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A remark on the run or a step; ``message`` is the digest of a pooled body."""

    label: str
    value: Any = None
    message: str | None = None
    index: int | None = None


class RunEnded(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The root's output or exception, and each writer's last ``writer_seq``.

    ``output`` may name messages of the run (see `workbench.sharing`).
    ``redaction`` is as in `RunStarted`: rules that came when the run's start was stored already.
    """

    output: Any = None
    exception: dict[str, Any] | None = None
    writers: dict[str, int] = {}
    redaction: list[dict[str, Any]] = []


BODIES: dict[str, type[Struct]] = {
    "run_started": RunStarted,
    "step_started": StepStarted,
    "step_ended": StepEnded,
    "call_started": CallStarted,
    "call_ended": CallEnded,
    "chunk": Chunk,
    "state_changed": StateChanged,
    "interrupted": Interrupted,
    "resumed": Resumed,
    "human_requested": HumanRequested,
    "human_responded": HumanResponded,
    "artifact_created": ArtifactCreated,
    "annotated": Annotated,
    "run_ended": RunEnded,
}


class RunHeader(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What is said of a run when it is created.

    ``source`` is ``format:path[#item]`` of an imported run. ``labels`` are flat. ``forked_at`` is a
    ``seq`` of the parent; ``edits_hash`` the hex sha-256 of a fork's edits.
    """

    run_id: str | None = None
    name: str | None = None
    agent: str | None = None
    source: str | None = None
    session: str | None = None
    labels: dict[str, str | int | float | bool | None] = {}
    mode: Mode | None = None
    parent_run_id: str | None = None
    forked_at: int | None = None
    edits_hash: str | None = None
    supersedes: str | None = None


class RunPatch(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A change of a run's name or labels; a label set to null is removed."""

    name: str | UnsetType | None = UNSET
    labels: dict[str, str | int | float | bool | None] | UnsetType = UNSET


class _Probe(Struct):
    event_type: Any = None
    version: Any = SCHEMA_VERSION


_event_decoder = msgspec.json.Decoder(Event)
_probe_decoder = msgspec.json.Decoder(_Probe)
_body_decoders = {name: msgspec.json.Decoder(body) for name, body in BODIES.items()}


def parse_event(raw: bytes | Raw, *, where: str | None = None) -> Event:
    """Read one event and check its envelope.

    Raises
    ------
    UnknownSchemaVersion
        The type or version is not supported; the supported range is in the error.
    InvalidEvent
        A field is missing, unknown or of the wrong type, or no writer is named.
    """
    try:
        event = _event_decoder.decode(raw)
    except msgspec.MsgspecError as error:
        _refuse_unknown_version(raw, where)
        raise InvalidEvent("the event is malformed", where=where, found=str(error)) from error
    except UnicodeDecodeError as error:
        raise InvalidEvent("the event is not UTF-8", where=where, found=str(error)) from error
    return sound_envelope(event, where=where)


def sound_envelope(event: Event, *, where: str | None = None) -> Event:
    """Return an event that was read already, its time in UTC, or refuse what no type can say.

    Raises
    ------
    UnknownSchemaVersion
        The version is not supported.
    InvalidEvent
        No writer is named, or the time has no zone.
    """
    if event.version != SCHEMA_VERSION:
        raise UnknownSchemaVersion(
            "the event's version is not supported",
            where=where,
            expected=f"1 to {SCHEMA_VERSION}",
            found=event.version,
        )
    if not event.writer:
        raise InvalidEvent("the event names no writer", where=where, found=repr(event.writer))
    if event.started_at is not None:
        if event.started_at.tzinfo is None:
            raise InvalidEvent("started_at has no time zone", where=where, expected="UTC")
        if event.started_at.utcoffset():
            return msgspec.structs.replace(event, started_at=event.started_at.astimezone(UTC))
    return event


def _refuse_unknown_version(raw: bytes | Raw, where: str | None) -> None:
    try:
        probe = _probe_decoder.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return
    if probe.event_type not in EVENT_TYPES or probe.version != SCHEMA_VERSION:
        raise UnknownSchemaVersion(
            "the event's type or version is not supported",
            where=where,
            expected={"event_type": list(EVENT_TYPES), "version": [1, SCHEMA_VERSION]},
            found={"event_type": probe.event_type, "version": probe.version},
        )


def parse_body(event: Event, *, where: str | None = None) -> Any:
    """Read the body of an event as the struct of its type.

    Raises
    ------
    InvalidEvent
        The payload does not fit the event's type.
    """
    try:
        return _body_decoders[event.event_type].decode(event.payload)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidEvent(
            f"the payload does not fit {event.event_type}", where=where, found=str(error)
        ) from error


def message_text(content: Any) -> str:
    """Return a message's text: null is empty, blocks are joined by nothing.

    Examples
    --------
    >>> message_text(None), message_text("a"), message_text([{"content": "a"}, {"text": "b"}])
    ('', 'a', 'ab')
    """
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(_block_text(block) for block in content)
    return str(content)


def _block_text(block: Any) -> str:
    if isinstance(block, str):
        return block
    if not isinstance(block, dict):
        return ""
    text = block.get("content") or block.get("text") or ""
    return text if isinstance(text, str) else message_text(text)


def now() -> datetime:
    """Return the time in UTC."""
    return datetime.now(UTC)
