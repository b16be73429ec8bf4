"""Bytes in Postgres, indexes and all, against the same events as raw JSON.

Two measures: events of random words as `tests/bench/events.py` makes them, which share nothing, and
the 900 runs of AgentDojo. Raw JSON is each event as it is sent, with the messages written out
where its digests stand: what the same events weigh without the pool. The baseline is a table with
the same columns and indexes whose payload is jsonb, with those messages in it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import events as made
import msgspec
from figure import Figure, say

from workbench import formats, local
from workbench.hashing import dumps
from workbench.importers import files, import_paths
from workbench.schema import Event
from workbench.sharing import Unfolding

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from stack import Stack

_EVENTS = 20_000
_BATCH = 500
OURS = ("events", "messages", "shared_messages", "runs", "writers", "run_usage")
_COLUMNS = (
    "workspace_id", "run_id", "seq", "writer_seq", "started_at", "received_at", "duration_ms",
    "content_hash", "ordinal", "version", "event_type", "writer", "step_id", "parent_step_id",
    "kind", "name", "lane", "status", "effect", "digest", "signature", "payload",
)  # fmt: skip
_JSONB = """
drop table if exists bench_jsonb;
create table bench_jsonb (like events including all);
alter table bench_jsonb drop column payload;
alter table bench_jsonb add column payload jsonb not null;
"""


def figures(stack: Stack) -> Iterator[Figure]:
    say(f"{_EVENTS:,} events of random words")
    yield _words(stack)
    folder = _folder()
    if folder is None:
        say("no recorded data of others; set WORKBENCH_REALDATA")
        return
    say("900 runs of AgentDojo")
    yield from _agentdojo(stack, folder)


def _words(stack: Stack) -> Figure:
    sent = made.made(_EVENTS)
    before = size_of(stack, OURS)
    with stack.client() as client:
        run_id = client.post("/runs", json={}).json()["run_id"]
        for body in made.batches(sent, size=_BATCH):
            client.post(f"/runs/{run_id}/events", content=body).raise_for_status()
    stored = size_of(stack, OURS) - before
    raw = sum(map(len, sent))
    plain = _as_jsonb(stack, ((event, {}) for event in _read(sent)))
    return _figure("events of random words", stored, raw, plain, wanted="<= 0.95")


def _agentdojo(stack: Stack, folder: Path) -> Iterator[Figure]:
    # Keys of runs and digests are random, so their indexes grow by splitting pages in the middle:
    # what that costs is told by building them anew.
    _reindex(stack)
    before = size_of(stack, OURS)
    with local.open(workspace="storage") as store:
        import_paths(store, "agentdojo", [folder])
    stored = size_of(stack, OURS) - before
    runs = [_imported(found) for found in files.find([folder])]
    raw = sum(
        len(msgspec.json.encode(_whole(event, run.bodies))) for run in runs for event in run.events
    )
    plain = _as_jsonb(stack, ((event, run.bodies) for run in runs for event in run.events))
    what = "900 AgentDojo runs, messages pooled"
    yield _figure(what, stored, raw, plain, wanted="<= 0.70")
    _reindex(stack)
    again = size_of(stack, OURS) - before
    yield _figure(f"{what}, indexes built anew", again, raw, plain, wanted="<= 0.70")


def _reindex(stack: Stack) -> None:
    with stack.owner() as owner:
        for table in OURS:
            owner.execute(f"reindex table {table}")


def _figure(what: str, stored: int, raw: int, plain: int, *, wanted: str) -> Figure:
    return Figure(
        figure=f"bytes in Postgres of raw JSON, {what}",
        value=stored / raw,
        unit=f"of {raw / 1e6:.1f} MB",
        baseline="the same columns and indexes, payload as jsonb",
        baseline_value=plain / raw,
        wanted=wanted,
    )


def size_of(stack: Stack, tables: Iterable[str]) -> int:
    """Return the size of tables with their indexes and what is kept out of line."""
    with stack.owner() as owner:
        sizes = (
            owner.execute("select pg_total_relation_size(%s::regclass)", [table]).fetchone()
            for table in tables
        )
        return sum(row[0] for row in sizes)


def _as_jsonb(stack: Stack, events: Iterable[tuple[Event, Mapping[str, Any]]]) -> int:
    """Copy events into the baseline's table, and return its size."""
    with stack.owner() as owner:
        owner.execute(_JSONB)
        with owner.cursor().copy(f"copy bench_jsonb ({', '.join(_COLUMNS)}) from stdin") as sink:
            for seq, (event, bodies) in enumerate(events, 1):
                sink.write_row(_row(event, bodies, seq))
        return size_of(stack, ["bench_jsonb"])


def _row(event: Event, bodies: Mapping[str, Any], seq: int) -> tuple[object, ...]:
    nobody = "00000000-0000-0000-0000-000000000001"
    digests = [
        None if text is None else bytes.fromhex(text) for text in (event.digest, event.signature)
    ]
    return (
        nobody, nobody, seq, seq, event.started_at, event.started_at or "2026-01-01 00:00:00+00",
        event.duration_ms, event.content_hash, event.ordinal, event.version, event.event_type,
        event.writer, event.step_id, event.parent_step_id, event.kind, event.name, event.lane,
        event.status, event.effect, *digests,
        dumps(_whole(event, bodies)["payload"]).replace(b"\\u0000", b"").decode(),
    )  # fmt: skip


# one for all runs: a request names the one before it in its own run, which was read just before
_unfolding = Unfolding()


def _whole(event: Event, bodies: Mapping[str, Any]) -> dict[str, Any]:
    """Return an event with the messages in place of their digests."""
    payload = msgspec.json.decode(event.payload)
    if event.kind == "model" and "request" in payload:
        payload["request"] = _unfolding.whole(event.step_id, payload["request"])
    for holder in (payload.get("request"), payload.get("input")):
        if isinstance(holder, dict) and isinstance(holder.get("messages"), list):
            holder["messages"] = [bodies.get(one, one) for one in holder["messages"]]
    for holder in (payload.get("outcome"), payload):
        if isinstance(holder, dict) and isinstance(holder.get("message"), str):
            holder["message"] = bodies.get(holder["message"], holder["message"])
    return msgspec.json.decode(msgspec.json.encode(event)) | {"payload": payload}


def _read(sent: Iterable[bytes]) -> Iterator[Event]:
    return (msgspec.json.decode(raw, type=Event) for raw in sent)


def _folder() -> Path | None:
    beside = Path(__file__).parents[2] / "../shared/realdata"
    found = Path(os.environ.get("WORKBENCH_REALDATA") or beside) / "agentdojo" / "runs"
    return found if found.is_dir() else None


def _imported(found: files.Found) -> formats.Imported:
    data = found.path.read_bytes()
    context, [piece] = formats.records("agentdojo", data, where=found.shown)
    return formats.imported(
        formats.trace("agentdojo", piece, context=context, path=found.path, where=found.shown)
    )
