"""What has to hold of the log after any fault, from SQL and hashlib alone: no code of the product.

`check` reads the tables as their owner and returns sentences, one for each thing that is wrong; an
empty list is the proof. A case compares with what its writers sent and what was acknowledged.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC
from typing import TYPE_CHECKING, Any

import psycopg
import zstandard
from psycopg.rows import dict_row

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID

Key = tuple[str, int]

_COLUMNS = [
    "attempt_of",
    "cache_read",
    "cache_write",
    "content_hash",
    "cost_usd",
    "duration_ms",
    "effect",
    "event_type",
    "input_tokens",
    "input_uncached",
    "kind",
    "lane",
    "match_level",
    "mode",
    "name",
    "order",
    "ordinal",
    "output_tokens",
    "parent_step_id",
    "quality",
    "reasoning_tokens",
    "signature",
    "started_at",
    "status",
    "step_id",
    "version",
    "writer",
    "writer_seq",
]
_inflate = zstandard.ZstdDecompressor().decompress


@dataclass(kw_only=True)
class Known:
    """What the clients know: each event they ever sent, and those they were told are stored."""

    sent: dict[Key, str] = field(default_factory=dict)
    acknowledged: dict[Key, int | None] = field(default_factory=dict)


def snapshot(owner_url: str) -> psycopg.Connection[dict[str, Any]]:
    """Return a connection whose transaction sees the tables of one moment."""
    connection = psycopg.connect(owner_url, row_factory=dict_row)
    connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    return connection


def check(
    connection: Any, workspace_id: UUID, run_id: str, *, known: Known, complete: bool
) -> list[str]:
    """Say what is wrong with one run; `complete` where every answer has come by now."""
    acknowledged = dict(known.acknowledged)  # before the table is read, and what was sent after it
    key = {"w": workspace_id, "r": run_id}
    runs = _all(connection, "runs", key)
    if not runs:
        return ["the run was acknowledged and is not stored"]
    run = runs[0]
    events = _all(connection, "events", key, order="seq")
    writers = {row["writer"]: row for row in _all(connection, "writers", key)}
    bodies = _bodies(connection, key)
    usage = _all(connection, "run_usage", key) if _is_table(connection, "run_usage") else None
    return [
        *_check_answers(events, acknowledged, known.sent, complete=complete),
        *_check_order(events),
        *_check_digests(events),
        *_check_bodies(events, bodies),
        *_check_writers(events, writers, run),
        *_check_sums(events, run),
        *([] if usage is None else _check_usage(events, usage)),
    ]


def _all(connection: Any, table: str, key: dict[str, Any], *, order: str = "1") -> list[dict]:
    return connection.execute(
        f"select * from {table} where workspace_id = %(w)s and run_id = %(r)s order by {order}", key
    ).fetchall()


def _is_table(connection: Any, name: str) -> bool:
    return connection.execute("select to_regclass(%s) as t", [name]).fetchone()["t"] is not None


def _bodies(connection: Any, key: dict[str, Any]) -> dict[str, bytes]:
    rows = connection.execute(
        "select encode(m.digest, 'hex') as digest, m.body from messages m"
        " where m.workspace_id = %(w)s and m.run_id = %(r)s"
        " union all"
        " select encode(l.digest, 'hex'), m.body"
        " from shared_messages s cross join unnest(s.digests) as l (digest)"
        " left join messages m on m.workspace_id = s.workspace_id and m.digest = l.digest"
        " where s.workspace_id = %(w)s and s.run_id = %(r)s",
        key,
    )
    return {row["digest"]: row["body"] for row in rows}


# ---- answers


def _check_answers(
    events: list[dict], acknowledged: dict[Key, int | None], sent: dict[Key, str], *, complete: bool
) -> Iterator[str]:
    stored = {(e["writer"], e["writer_seq"]): e for e in events}
    for place, seq in acknowledged.items():
        if place not in stored:
            yield f"{place} was acknowledged and is not stored"
        elif seq is not None and stored[place]["seq"] != seq:
            yield f"{place} was acknowledged as {seq} and stored as {stored[place]['seq']}"
    for place, event in stored.items():
        if place not in sent:
            yield f"{place} was stored and never sent"
        elif event["digest"].hex() != sent[place]:
            yield f"{place} was stored as another event than was sent"
    if complete and len(stored) != len(acknowledged):
        yield f"{len(acknowledged)} were acknowledged, {len(stored)} are stored"


def _check_order(events: list[dict]) -> Iterator[str]:
    if [e["seq"] for e in events] != list(range(1, len(events) + 1)):
        yield f"seq is not 1 to {len(events)}"
    places = Counter((e["writer"], e["writer_seq"]) for e in events)
    yield from (f"{place} is stored {n} times" for place, n in places.items() if n > 1)
    tokens = Counter(token for e in events if (token := token_of(_payload(e))) is not None)
    yield from (f"the content {token} is stored {n} times" for token, n in tokens.items() if n > 1)
    last: dict[str, int] = {}
    for event in events:
        writer, number = event["writer"], event["writer_seq"]
        if number != last.get(writer, 0) + 1:
            yield f"{writer} has {number} after {last.get(writer, 0)}"
        last[writer] = number


def _payload(event: dict) -> bytes:
    try:
        return _inflate(event["payload"])
    except zstandard.ZstdError:
        return b"{}"


def token_of(payload: bytes) -> str | None:
    """Return what no two events of the suite's writers have in common."""
    try:
        body = json.loads(payload)
    except ValueError:
        return None
    places = (body, *(body.get(name) for name in ("changes", "request", "usage", "input", "value")))
    return next((p["token"] for p in places if isinstance(p, dict) and "token" in p), None)


# ---- digests and bodies


def envelope_of(fields: dict[str, Any]) -> bytes:
    """Return the bytes that stand before the payload in what is hashed."""
    kept = {name: fields[name] for name in sorted(_COLUMNS) if fields.get(name) is not None}
    if kept.get("version") == 1:
        del kept["version"]
    if kept.get("started_at") is not None:
        at = kept["started_at"].astimezone(UTC).replace(tzinfo=None)
        kept["started_at"] = at.isoformat() + "Z"
    if isinstance(kept.get("signature"), (bytes, memoryview)):
        kept["signature"] = bytes(kept["signature"]).hex()
    return json.dumps(kept, separators=(",", ":"), ensure_ascii=False).encode()


def digest_of(fields: dict[str, Any], payload: bytes) -> str:
    return hashlib.sha256(envelope_of(fields) + b"\n" + payload).hexdigest()


def _check_digests(events: list[dict]) -> Iterator[str]:
    for event in events:
        if digest_of(event, _payload(event)) != event["digest"].hex():
            yield f"seq {event['seq']} has not the digest that is stored with it"


def _check_bodies(events: list[dict], bodies: dict[str, bytes | None]) -> Iterator[str]:
    for digest, body in bodies.items():
        if body is None:
            yield f"the run names the body {digest}, which is not stored"
        elif hashlib.sha256(_inflate(body)).hexdigest() != digest:
            yield f"the body {digest} has another digest"
    for event in events:
        for digest in _names(event):
            if digest not in bodies:
                yield f"seq {event['seq']} names the body {digest}, which the run lacks"


def _names(event: dict) -> list[str]:
    payload = json.loads(_payload(event))
    if event["event_type"] == "call_started" and event["kind"] == "model":
        return payload["request"].get("messages") or []
    message = (payload.get("outcome") or {}).get("message")
    return [message] if event["event_type"] == "call_ended" and message else []


# ---- what is kept beside the events


def _check_writers(events: list[dict], writers: dict[str, dict], run: dict) -> Iterator[str]:
    last = Counter()
    for event in events:
        last[event["writer"]] = max(last[event["writer"]], event["writer_seq"])
    for name in last.keys() | writers.keys():
        row = writers.get(name, {"last_seq": None, "final_seq": None})
        if row["last_seq"] != last[name]:
            yield f"writer {name} stands at {row['last_seq']} and delivered {last[name]}"
    announced = _announced(events)
    kept = {name: row["final_seq"] for name, row in writers.items() if row["final_seq"] is not None}
    if kept != announced:
        yield f"announced were {announced}, kept is {kept}"
    beyond = [name for name in last if announced and last[name] > announced.get(name, last[name])]
    yield from (f"writer {name} delivered more than was announced" for name in beyond)
    behind = any(last[name] < final for name, final in announced.items())
    healthy = {"gap", "incomplete"} if behind else {"ok"}
    if run["health"] not in healthy:
        yield f"health is {run['health']}, and should be one of {healthy}"


def _announced(events: list[dict]) -> dict[str, int]:
    for event in events:
        if event["event_type"] == "run_ended":
            body = json.loads(_payload(event))
            return {event["writer"]: event["writer_seq"]} | body.get("writers", {})
    return {}


def _check_sums(events: list[dict], run: dict) -> Iterator[str]:
    types = Counter(e["event_type"] for e in events)
    started = [e for e in events if e["event_type"] == "call_started"]
    ended = [e for e in events if e["event_type"] == "call_ended"]
    failed = [e for e in ended if e["status"] == "error"]
    steps_failed = [e for e in events if e["event_type"] == "step_ended" and e["status"] == "error"]
    expected = {
        "events": len(events),
        "next_seq": len(events) + 1,
        "steps": types["step_started"] + types["call_started"],
        "calls": len(started),
        "model_calls": sum(e["kind"] == "model" for e in started),
        "tool_calls": sum(e["kind"] == "tool" for e in started),
        "tool_errors": sum(e["kind"] == "tool" for e in failed),
        "errors": len(failed) + len(steps_failed),
        "input_tokens": _sum(ended, "input_tokens"),
        "output_tokens": _sum(ended, "output_tokens"),
        "cost_known_usd": _sum(ended, "cost_usd"),
        "unknown_cost_parts": sum(map(_has_unknown_cost, ended)),
        "closed": types["run_ended"] > 0,
    }
    if closing := [e for e in events if e["event_type"] == "run_ended"]:
        expected |= {"status": closing[0]["status"], "ended_at": closing[0]["started_at"]}
    for name, value in expected.items():
        if run[name] != value:
            yield f"the run's {name} is {run[name]}, and should be {value}"
    if types["run_ended"] > 1:
        yield "the run ended more than once"


def _sum(events: list[dict], name: str) -> float:
    return sum(e[name] or 0 for e in events)


def _has_unknown_cost(event: dict) -> bool:
    tokens = (event["input_tokens"] or 0) + (event["output_tokens"] or 0)
    nothing = event["cost_usd"] is None or (event["cost_usd"] == 0 and tokens > 0)
    return event["kind"] == "model" and nothing


def _check_usage(events: list[dict], usage: list[dict]) -> Iterator[str]:
    ended = [e for e in events if e["event_type"] == "call_ended"]
    expected = {
        "events": len(events),
        "input_tokens": _sum(ended, "input_tokens"),
        "output_tokens": _sum(ended, "output_tokens"),
        "cost_usd": _sum(ended, "cost_usd"),
    }
    for name, value in expected.items():
        if _sum(usage, name) != value:
            yield f"usage counts {_sum(usage, name)} {name}, and should count {value}"


# ---- walls


def check_walls(owner_url: str, app_url: str, workspace_id: UUID) -> list[str]:
    """Say which table shows the app's role a row of another workspace, or could."""
    with psycopg.connect(owner_url) as owner, psycopg.connect(app_url, autocommit=True) as app:
        return [*_open_tables(owner), *_seen(owner, app, workspace_id)]


def _open_tables(owner: Any) -> Iterator[str]:
    rows = owner.execute(
        "select c.oid::regclass::text from pg_class c join pg_attribute a on a.attrelid = c.oid"
        " where c.relkind in ('r', 'p') and a.attname = 'workspace_id'"
        " and c.relnamespace in ('public'::regnamespace, 'jobs'::regnamespace)"
        " and c.relname not in ('workspaces', 'api_keys') and not ("
        "   c.relrowsecurity and c.relforcerowsecurity"
        "   and exists (select from pg_policy p where p.polrelid = c.oid))"
    )
    yield from (f"{name} has no wall" for (name,) in rows)


def _seen(owner: Any, app: Any, workspace_id: UUID) -> Iterator[str]:
    tables = ("runs", "events", "writers", "messages", "shared_messages")
    for table in tables:
        counted = dict(owner.execute(f"select workspace_id, count(*) from {table} group by 1"))
        with app.transaction():
            app.execute("select set_config('workbench.workspace', %s, true)", [str(workspace_id)])
            seen = app.execute(f"select count(*) from {table}").fetchone()[0]
        if seen != counted.get(workspace_id, 0):
            yield f"{table} shows {seen} rows of {counted.get(workspace_id, 0)}"
        try:
            app.execute(f"select count(*) from {table}")
            yield f"{table} answers without a workspace"
        except psycopg.Error:
            continue
