"""What answers look like; each struct becomes a schema of the document, and nothing else uses it.

An answer may have more fields than are said here: growth is additive.
"""

# No `annotations` from the future: a struct's field may have the name of a type.
from datetime import date, datetime
from typing import Any, Literal
from uuid import UUID

import msgspec
from msgspec import Struct

from workbench.redaction import Rule
from workbench.schema import Event, Health, Mode, RunHeader, RunStatus

Label = str | int | float | bool | None
Reachable = Literal["ok", "unreachable"]


def _event() -> type[Struct]:
    """Return the event with a payload that is an object: of raw JSON there is no schema."""
    fields: list[Any] = [
        (known.name, dict[str, Any], {})
        if known.name == "payload"
        else (known.name, known.type)
        if known.required
        else (known.name, known.type, known.default)
        for known in msgspec.structs.fields(Event)
    ]
    namespace = {"__doc__": Event.__doc__}
    return msgspec.defstruct(
        "Event", fields, kw_only=True, forbid_unknown_fields=True, namespace=namespace
    )


EventSent = _event()


class Problem(Struct, kw_only=True):
    """What went wrong, as problem+json (RFC 9457); `code` is stable, `title` is for people."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    timestamp: datetime
    request_id: str | None
    details: dict[str, Any]
    where: Any = None
    expected: Any = None
    found: Any = None
    hint: str | None = None


class WorkspaceOfKey(Struct, kw_only=True):
    """Whose key it is."""

    id: UUID
    name: str


class HealthAnswer(Struct, kw_only=True):
    """That the server lives, and what it reaches; `workspace` where a key came."""

    status: Literal["ok", "degraded"]
    version: str
    database: Reachable
    storage: Reachable
    workspace: WorkspaceOfKey | None = None


class Checks(Struct, kw_only=True):
    """What was looked at; a worker that is away stops nobody from sending."""

    database: str
    migrations: str
    storage: str
    worker: str


class Ready(Struct, kw_only=True):
    """That requests should be sent here."""

    status: Literal["ready"]
    checks: Checks


class RulesInForce(Struct, kw_only=True):
    """The workspace's rules, and the version of the key that its placeholders are made with."""

    rules: list[Rule]
    key_version: int


class RedactionAnswer(Struct, kw_only=True):
    """The workspace's rules, the key that placeholders are made with, in hex, and its version."""

    rules: list[Rule]
    key: str
    key_version: int


class Created(Struct, kw_only=True):
    """A run that was made, or found by the same header."""

    run_id: UUID
    created: bool
    redaction: RulesInForce


class RunRow(Struct, kw_only=True):
    """A run: what was said of it, how it stands, and what its events come to."""

    run_id: UUID
    name: str | None
    agent: str | None
    source: str | None
    session: str | None
    labels: dict[str, Label]
    mode: Mode | None
    parent_run_id: UUID | None
    forked_at: int | None
    edits_hash: str | None
    supersedes: UUID | None
    superseded_by: UUID | None
    status: RunStatus
    health: Health
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    duration_ms: float | None
    events: int
    steps: int
    calls: int
    model_calls: int
    tool_calls: int
    tool_errors: int
    errors: int
    input_tokens: int
    output_tokens: int
    cost_known_usd: float
    cost_usd: float | None
    unknown_cost_parts: int


class Runs(Struct, kw_only=True):
    """A page of runs; `next_cursor` is null on the last."""

    runs: list[RunRow]
    next_cursor: str | None


class Alive(Struct, kw_only=True):
    """How the run stands, told to a writer that says it is alive."""

    run_id: UUID
    status: RunStatus
    health: Health
    closed: bool
    cancelled: bool


class Made(Struct, kw_only=True):
    """A file that a run made; `stored` says whether its bytes came as well."""

    run_id: UUID
    seq: int
    sha256: str
    media_type: str | None
    size: int | None
    entity_type: str | None
    tags: list[str]
    created_at: datetime
    stored: bool


class Artifacts(Struct, kw_only=True):
    """A page of what runs made; `next_cursor` is null on the last."""

    artifacts: list[Made]
    next_cursor: str | None


class Hashes(Struct, kw_only=True):
    """The run's digest, and those of what was said of it."""

    log_root: str
    header: str | None
    edits: str | None


class Manifest(Struct, kw_only=True):
    """Everything a run consists of, in counts and hashes."""

    run_id: UUID
    status: RunStatus
    health: Health
    events: int
    event_types: dict[str, int]
    calls: dict[str, int]
    writers: Any
    artifacts: list[dict[str, Any]]
    artifact_count: int
    entity_types: list[dict[str, Any]]
    hashes: Hashes


class SessionRow(Struct, kw_only=True):
    """Runs that share a name of a session, and what they come to."""

    session: str
    runs: int
    messages: int | None
    input_tokens: int
    output_tokens: int
    cost_known_usd: float
    cost_usd: float | None
    first_at: datetime
    last_at: datetime


class Sessions(Struct, kw_only=True):
    """A page of sessions; `next_cursor` is null on the last."""

    sessions: list[SessionRow]
    next_cursor: str | None


class Batch(Struct, kw_only=True, forbid_unknown_fields=True):
    """Events in their writers' order, and the message bodies they refer to by digest."""

    events: list[EventSent]  # type: ignore[valid-type]
    bodies: dict[str, dict[str, Any]] = {}
    atomic: bool = True


class Rejection(Struct, kw_only=True):
    """Why one event of a batch was not stored."""

    index: int
    code: str
    title: str
    details: dict[str, Any]


class Receipt(Struct, kw_only=True):
    """What became of a batch; it is committed when this is sent."""

    accepted: int
    duplicates: int
    first_seq: int | None
    last_seq: int | None
    rejected: list[Rejection]


class RunSent(Struct, kw_only=True, forbid_unknown_fields=True):
    """A run's header and its events."""

    header: RunHeader
    events: list[EventSent] = []  # type: ignore[valid-type]


class RunsSent(Struct, kw_only=True, forbid_unknown_fields=True):
    """Runs, and the bodies of the messages that any of them names."""

    runs: list[RunSent]
    bodies: dict[str, dict[str, Any]] = {}


class RunsReceipt(Struct, kw_only=True):
    """What became of each run, in the order of the request."""

    runs: list[dict[str, Any]]


class EventsAnswer(Struct, kw_only=True):
    """Events in order of seq."""

    events: list[dict[str, Any]]


class Kept(Struct, kw_only=True):
    """Bytes that are stored."""

    sha256: str
    size: int


class Table(Struct, kw_only=True):
    """Where a table of the lake stands: scan by this, never by the catalog."""

    metadata_location: str
    snapshot_id: int
    generation: int
    storage_options_hint: dict[str, Any]


class Snapshots(Struct, kw_only=True):
    """The lake's tables, and how many ended runs they lack."""

    tables: dict[str, Table]
    pending: int


class Job(Struct, kw_only=True):
    """Work that was asked for."""

    job_id: UUID


class ReplayAsked(Struct, kw_only=True):
    """What was asked for, with all that was left to its default."""

    run_id: UUID
    agent: str
    mode: Mode
    overrides: dict[str, Mode]
    on_miss: str
    budget: dict[str, float | None] | None
    collect: bool
    order: str
    key: str | None


class ReplayRow(Struct, kw_only=True):
    """A replay: `run_id` is the run it makes, `result_artifact` the bytes of its whole result."""

    job_id: UUID
    run_id: UUID
    status: Literal["queued", "running", "done", "failed", "cancelled"]
    asked: ReplayAsked
    progress: dict[str, Any]
    result: dict[str, Any] | None
    result_artifact: str | None
    error: dict[str, Any] | None
    attempts: int
    cancel_requested: bool
    created_at: datetime
    started_at: datetime | None
    heartbeat_at: datetime | None
    ended_at: datetime | None


class Replays(Struct, kw_only=True):
    """A page of replays; `next_cursor` is null on the last."""

    replays: list[ReplayRow]
    next_cursor: str | None


class AgentRow(Struct, kw_only=True):
    """An agent that can be replayed here; `live` says whether it may call outside."""

    name: str
    live: bool


class Agents(Struct, kw_only=True):
    """The registered agents, by name."""

    agents: list[AgentRow]


class Key(Struct, kw_only=True):
    """An API key, without the key."""

    key_id: str
    role: Literal["reader", "writer", "admin"]
    name: str | None
    created_at: datetime
    expires_at: datetime | None


class Keys(Struct, kw_only=True):
    """The keys of a workspace, the oldest first."""

    keys: list[Key]


class KeyAnswer(Struct, kw_only=True):
    """One key."""

    key: Key


class NewKeyAnswer(Struct, kw_only=True):
    """A key that was made; `secret` is shown this once."""

    key: Key
    secret: str


class LimitsAnswer(Struct, kw_only=True):
    """What holds for the workspace, what of it was set, and what could be."""

    limits: dict[str, int]
    set: dict[str, int]
    defaults: dict[str, int]
    ranges: dict[str, dict[str, int]]


class Day(Struct, kw_only=True):
    """What came on one day of UTC."""

    day: date
    runs: int
    events: int
    bytes: int
    input_tokens: int
    output_tokens: int
    cost_known_usd: float


class Usage(Struct, kw_only=True):
    """What a workspace took, by day, and together."""

    days: list[Day]
    total: dict[str, Any]
