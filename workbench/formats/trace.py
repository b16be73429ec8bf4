"""What a foreign record says, before it becomes events: the same few words for every format."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from datetime import datetime

    from workbench.schema import Event, RunHeader, RunStatus

Role = Literal["system", "developer", "user", "assistant", "tool"]
ROLES = ("system", "developer", "user", "assistant", "tool")
LEADING = ("system", "developer")


@dataclass(slots=True, kw_only=True)
class Call:
    """A tool call as the model, or a simulated user, asked for it."""

    name: str
    arguments: Any = None
    id: str | None = None


@dataclass(slots=True, kw_only=True)
class Message:
    """One message of a conversation; ``index`` is the source's own place, from 0.

    ``cost_usd`` is what the source says and is null where that is unknown. ``reply_to`` and
    ``replied`` are what a tool's message says about the call it answers.
    """

    index: int
    role: Role
    content: Any = None
    calls: list[Call] = field(default_factory=list)
    reply_to: str | None = None
    replied: Call | None = None
    name: str | None = None
    error: str | Literal[True] | None = None
    at: datetime | None = None
    cost_usd: float | None = None
    usage: dict[str, Any] | None = None
    extra: dict[str, Any] | None = None


@dataclass(slots=True, kw_only=True)
class Trace:
    """One run of a foreign file.

    ``key`` names the record inside its format, for the run's identity; ``item`` says that it also
    names the record inside its file, where a file holds many.
    ``has_error_flag`` says whether the format can mark a tool's answer as an error at all,
    ``has_costs`` whether it states costs. ``remarks`` are (label, value) pairs kept as
    `annotated` events; ``config`` is what the run was started with.
    """

    key: str
    item: bool = False
    name: str
    agent: str | None = None
    labels: dict[str, str | int | float | bool | None]
    messages: list[Message]
    config: dict[str, Any] = field(default_factory=dict)
    remarks: list[tuple[str, Any]] = field(default_factory=list)
    status: RunStatus = "done"
    failure: str | None = None
    duration_ms: float | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    model: str | None = None
    model_params: dict[str, Any] = field(default_factory=dict)
    has_error_flag: bool = False
    has_costs: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What a record holds, counted from the source; ``tool_errors`` is null without an error flag.

    ``cost_unknown`` says that some part of the run's cost is unknown.
    """

    messages: int
    tool_calls: int
    tool_errors: int | None
    cost_unknown: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """One run ready for a store: its header (without id and source), events and pooled bodies."""

    header: RunHeader
    events: list[Event]
    bodies: dict[str, dict[str, Any]]
    counts: Counts
