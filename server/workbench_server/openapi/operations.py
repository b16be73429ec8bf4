"""Each route: who may ask, what it takes, what it answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from workbench.schema import RunHeader, RunPatch
from workbench_server.ending import Cancelling, Ending
from workbench_server.keys import NewKey, Rotation
from workbench_server.openapi import answers as a
from workbench_server.redacting import Rules
from workbench_server.replays import Asking

if TYPE_CHECKING:
    from collections.abc import Mapping

JSON: Final = "application/json"
NDJSON: Final = "application/x-ndjson"
ARROW: Final = "application/vnd.apache.arrow.stream"
ANY: Final = "application/octet-stream"
SSE: Final = "text/event-stream"

_TEXT = {"type": "string"}
_BYTES = {"type": "string", "format": "binary"}
_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """What a route takes: media type → a struct or a plain schema, and an example."""

    media: Mapping[str, Any]
    example: Any = None
    required: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One route; `role` is the least that its key needs, None where it needs no key."""

    name: str
    role: str | None
    answers: Mapping[int, Mapping[str, Any]]
    says: str = "What was asked for."
    body: Body | None = None
    conflicts: bool = False
    finds: bool = False
    more: tuple[int, ...] = field(default=())


def _json(kind: Any, status: int = 200) -> dict[int, dict[str, Any]]:
    return {status: {JSON: kind}}


_EVENT = {"event_type": "step_started", "writer": "agent-1", "writer_seq": 1, "name": "plan"}
_RULE = {"name": "email", "pattern": r"[\w.+-]+@[\w-]+\.[\w.-]+"}
_HEADER = {"name": "nightly", "agent": "support_desk:agent", "labels": {"model": "m-1"}}

_ASKING = {
    "run_id": "018f2b3c-7d1e-7a00-8000-000000000001",
    "agent": "support",
    "mode": "exact",
    "key": "nightly-2026-03-01",
}

OPERATIONS: Final[Mapping[tuple[str, str], Operation]] = {
    ("GET", "/v1/health"): Operation(
        name="health", role=None, answers=_json(a.HealthAnswer), more=(401, 429)
    ),
    ("GET", "/v1/ready"): Operation(name="ready", role=None, answers=_json(a.Ready)),
    ("GET", "/metrics"): Operation(name="metrics", role=None, answers={200: {"text/plain": _TEXT}}),
    ("POST", "/v1/runs"): Operation(
        name="createRun",
        role="writer",
        body=Body(media={JSON: RunHeader}, example=_HEADER),
        answers={201: {JSON: a.Created}, 200: {JSON: a.Created}},
        says="The run was made (201), or one of the same header was there (200).",
        conflicts=True,
    ),
    ("GET", "/v1/runs"): Operation(name="listRuns", role="reader", answers=_json(a.Runs)),
    ("GET", "/v1/runs/{run_id}"): Operation(
        name="getRun", role="reader", answers=_json(a.RunRow), finds=True
    ),
    ("PATCH", "/v1/runs/{run_id}"): Operation(
        name="patchRun",
        role="writer",
        body=Body(media={JSON: RunPatch}, example={"labels": {"verdict": "good"}}),
        answers=_json(a.RunRow),
        finds=True,
    ),
    ("GET", "/v1/runs/{run_id}/forks"): Operation(
        name="listForks", role="reader", answers=_json(a.Runs), finds=True
    ),
    ("GET", "/v1/runs/{run_id}/manifest"): Operation(
        name="getManifest", role="reader", answers=_json(a.Manifest), finds=True
    ),
    ("POST", "/v1/runs/{run_id}/end"): Operation(
        name="endRun",
        role="writer",
        body=Body(media={JSON: Ending}, example={"status": "done"}, required=False),
        answers=_json(a.RunRow),
        conflicts=True,
        finds=True,
    ),
    ("POST", "/v1/runs/{run_id}/cancel"): Operation(
        name="cancelRun",
        role="writer",
        body=Body(media={JSON: Cancelling}, example={"reason": "not needed"}, required=False),
        answers=_json(a.RunRow),
        conflicts=True,
        finds=True,
    ),
    ("POST", "/v1/runs/{run_id}/heartbeat"): Operation(
        name="heartbeat", role="writer", answers=_json(a.Alive), finds=True
    ),
    ("POST", "/v1/runs/{run_id}/events"): Operation(
        name="appendEvents",
        role="writer",
        body=Body(media={JSON: a.Batch, NDJSON: _TEXT}, example={"events": [_EVENT]}),
        answers=_json(a.Receipt),
        says="The batch is committed.",
        conflicts=True,
        finds=True,
    ),
    ("POST", "/v1/batches"): Operation(
        name="storeRuns",
        role="writer",
        body=Body(
            media={JSON: a.RunsSent}, example={"runs": [{"header": _HEADER, "events": [_EVENT]}]}
        ),
        answers=_json(a.RunsReceipt),
        says="What became of each run; what was stored is committed.",
        conflicts=True,
    ),
    ("GET", "/v1/runs/{run_id}/events"): Operation(
        name="readEvents",
        role="reader",
        answers={200: {JSON: a.EventsAnswer, ARROW: _BYTES}},
        finds=True,
    ),
    ("GET", "/v1/runs/{run_id}/events/stream"): Operation(
        name="followEvents",
        role="reader",
        answers={200: {SSE: _TEXT}},
        says="Server-sent events, until the run ends.",
        finds=True,
    ),
    ("GET", "/v1/runs/{run_id}/bodies"): Operation(
        name="readBodies",
        role="reader",
        answers={200: {JSON: dict[str, dict[str, Any]], ARROW: _BYTES}},
        finds=True,
    ),
    ("GET", "/v1/sessions"): Operation(
        name="listSessions", role="reader", answers=_json(a.Sessions)
    ),
    ("GET", "/v1/sessions/{session}"): Operation(
        name="getSession", role="reader", answers=_json(a.SessionRow), finds=True
    ),
    ("PUT", "/v1/artifacts/{sha256}"): Operation(
        name="putArtifact",
        role="writer",
        body=Body(media={ANY: _BYTES}, required=False),
        answers=_json(a.Kept, 201),
        says="The bytes are stored.",
    ),
    ("GET", "/v1/artifacts"): Operation(
        name="listArtifacts", role="reader", answers=_json(a.Artifacts)
    ),
    ("GET", "/v1/artifacts/{sha256}"): Operation(
        name="getArtifact",
        role="reader",
        answers={200: {"*/*": _BYTES}},
        says="The bytes, as the media type they came with.",
        finds=True,
    ),
    ("GET", "/v1/snapshots"): Operation(
        name="getSnapshots", role="reader", answers=_json(a.Snapshots)
    ),
    ("POST", "/v1/snapshots"): Operation(
        name="requestSnapshot", role="writer", answers=_json(a.Job, 202), says="It was asked for."
    ),
    ("GET", "/v1/agents"): Operation(name="listAgents", role="reader", answers=_json(a.Agents)),
    ("POST", "/v1/replays"): Operation(
        name="askReplay",
        role="writer",
        body=Body(media={JSON: Asking}, example=_ASKING),
        answers={202: {JSON: a.ReplayRow}, 200: {JSON: a.ReplayRow}},
        says="It was asked for (202), or the same was asked by this key before (200).",
        conflicts=True,
        finds=True,
    ),
    ("GET", "/v1/replays"): Operation(name="listReplays", role="reader", answers=_json(a.Replays)),
    ("GET", "/v1/replays/{job_id}"): Operation(
        name="getReplay", role="reader", answers=_json(a.ReplayRow), finds=True
    ),
    ("POST", "/v1/replays/{job_id}/cancel"): Operation(
        name="cancelReplay",
        role="writer",
        answers=_json(a.ReplayRow),
        conflicts=True,
        finds=True,
    ),
    ("GET", "/v1/keys"): Operation(name="listKeys", role="admin", answers=_json(a.Keys)),
    ("POST", "/v1/keys"): Operation(
        name="createKey",
        role="admin",
        body=Body(media={JSON: NewKey}, example={"role": "reader", "name": "dashboard"}),
        answers=_json(a.NewKeyAnswer, 201),
        conflicts=True,
    ),
    ("POST", "/v1/keys/{key_id}/rotate"): Operation(
        name="rotateKey",
        role="admin",
        body=Body(media={JSON: Rotation}, example={"overlap_s": 3600}, required=False),
        answers=_json(a.NewKeyAnswer, 201),
        conflicts=True,
        finds=True,
    ),
    ("DELETE", "/v1/keys/{key_id}"): Operation(
        name="revokeKey", role="admin", answers=_json(a.KeyAnswer), conflicts=True, finds=True
    ),
    ("GET", "/v1/limits"): Operation(name="getLimits", role="admin", answers=_json(a.LimitsAnswer)),
    ("PATCH", "/v1/limits"): Operation(
        name="changeLimits",
        role="admin",
        body=Body(media={JSON: dict[str, int | None]}, example={"streams": 100}, required=False),
        answers=_json(a.LimitsAnswer),
    ),
    ("GET", "/v1/redaction"): Operation(
        name="getRedaction", role="writer", answers=_json(a.RedactionAnswer)
    ),
    ("PUT", "/v1/redaction"): Operation(
        name="changeRedaction",
        role="admin",
        body=Body(media={JSON: Rules}, example={"rules": [_RULE]}),
        answers=_json(a.RedactionAnswer),
    ),
    ("GET", "/v1/usage"): Operation(name="getUsage", role="reader", answers=_json(a.Usage)),
}

# What FastAPI does not know of a parameter: what it is for, and a value.
PARAMETERS: Final[Mapping[str, tuple[str, Mapping[str, Any]]]] = {
    "run_id": (
        "A run's id.",
        {"format": "uuid", "examples": ["018f2b3c-7d1e-7a00-8000-000000000001"]},
    ),
    "job_id": ("A replay's id, as POST /v1/replays answered.", {"format": "uuid"}),
    "key_id": ("A key's id, as the list of keys shows it.", {"minLength": 1}),
    "session": ("The session's name.", {"minLength": 1, "examples": ["s-1"]}),
    "sha256": (
        "The sha-256 of the bytes, in lower-case hex.",
        {"pattern": "^[0-9a-f]{64}$", "examples": [_SHA256]},
    ),
    "limit": ("How many at most.", {}),
    "cursor": ("Where the next page begins: `next_cursor` of the page before.", {}),
    "sort": ("A column, as `column`, `column:asc` or `column:desc`.", {}),
    "source": ("Where an imported run came from.", {}),
    "status": ("Runs of any of these statuses.", {}),
    "health": ("Runs of any of these healths.", {}),
    "mode": ("Runs replayed in this mode.", {}),
    "name": ("Runs of this name.", {}),
    "agent": ("Runs of this agent.", {}),
    "parent_run_id": ("Forks and replays of this run.", {}),
    "label": ("A label as `name:value`; several have to be there all.", {}),
    "created_after": ("Made at this moment or later.", {}),
    "created_before": ("Made before this moment.", {}),
    "ended_after": ("Ended at this moment or later.", {}),
    "ended_before": ("Ended before this moment.", {}),
    "min_cost_usd": ("Cost at least this much.", {}),
    "max_cost_usd": ("Cost at most this much, all of it known.", {}),
    "min_tokens": ("At least so many tokens, in and out.", {}),
    "max_tokens": ("At most so many tokens, in and out.", {}),
    "min_duration_ms": ("Took at least so long.", {}),
    "max_duration_ms": ("Took at most so long.", {}),
    "q": ("Words to search for in names, labels and messages.", {}),
    "after": ("Events behind this seq.", {}),
    "before": ("Events before this seq.", {}),
    "columns": ("All columns, or those of a timeline.", {}),
    "failed": ("Only what ends a step that failed or was cancelled.", {}),
    "compression": ("How the buffers of an Arrow stream are packed.", {}),
    "atomic": ("Store all of the batch or nothing (the default), or what is valid of it.", {}),
    "entity_type": ("Artifacts of this type.", {}),
    "media_type": ("Artifacts of this media type.", {}),
    "tag": ("A tag; several have to be there all.", {}),
    "from": ("The first day, of UTC.", {}),
    "to": ("The last day, of UTC.", {}),
    "last-event-id": ("The seq of the last event that was read; the next one comes first.", {}),
}
