"""Durable events a second over HTTP, against what Postgres itself takes of the same events.

Baseline (a) copies the events as text lines with a jsonb payload, prebuilt; baseline (b) copies the
very rows that were stored, in binary, as ``workbench_bench``. Both commit where the product does:
every batch.
"""

from __future__ import annotations

import io
import statistics
import threading
import time
from typing import TYPE_CHECKING

import events as made
import load
import msgspec
import psycopg
from figure import Figure, percentile, say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stack import Stack

_BATCH = 100
_BATCHES = 100
_ROUNDS = 3
_TEXT_TABLE = """

drop table if exists bench_text;
create table bench_text (
  workspace_id uuid not null, run_id uuid not null, seq bigint not null, writer_seq bigint not null,
  started_at timestamptz, duration_ms double precision, content_hash bigint, ordinal bigint,
  event_type text, writer text, step_id text, parent_step_id text, kind text, name text, lane text,
  status text, effect text, digest text, signature text, payload jsonb not null,
  primary key (workspace_id, run_id, seq),
  unique (workspace_id, run_id, writer, writer_seq)
);
grant all on bench_text to workbench_bench;
"""
_COLUMNS = [
    "started_at",
    "duration_ms",
    "content_hash",
    "ordinal",
    "event_type",
    "writer",
    "step_id",
    "parent_step_id",
    "kind",
    "name",
    "lane",
    "status",
    "effect",
    "digest",
    "signature",
]


def figures(stack: Stack) -> Iterator[Figure]:
    for clients in (1, 8):
        yield from _batches(stack, clients)
    yield from _long_run(stack)
    yield from _single(stack)


# ---- batches of 100


def _batches(stack: Stack, clients: int) -> Iterator[Figure]:
    per_client = _BATCHES if clients == 1 else _BATCHES // 4
    rates, texts, binaries, waits = [], [], [], []
    for turn in range(_ROUNDS):
        say(f"batches of {_BATCH}, {clients} clients, round {turn + 1} of {_ROUNDS}")
        sent, runs = send(stack, clients=clients, batches=per_client)
        rates.append(load.rate(sent, events=clients * per_client * _BATCH))
        waits.extend(wait for one in sent for wait in one.waits[3:])
        texts.append(copy_text(stack, clients=clients, batches=per_client))
        binaries.append(_copy_binary(stack, runs))
    name = f"events/s, batches of {_BATCH}, {clients} clients"
    value = statistics.median(rates)
    yield Figure(
        figure=name,
        value=value,
        unit="events/s",
        baseline="(a) COPY of text lines with a jsonb payload",
        baseline_value=statistics.median(texts),
        wanted=f"ratio >= {0.70 if clients == 1 else 0.65}, aim for 1.0",
    )
    yield Figure(
        figure=name,
        value=value,
        unit="events/s",
        baseline="(b) binary COPY of the rows stored",
        baseline_value=statistics.median(binaries),
        wanted="ratio >= 0.40",
    )
    yield Figure(
        figure=f"acknowledgement p99, batches of {_BATCH}, {clients} clients",
        value=percentile(waits, 0.99) * 1000,
        unit="ms",
        baseline="median of the same requests",
        baseline_value=statistics.median(waits) * 1000,
        wanted=f"<= {10 if clients == 1 else 40} ms",
    )


def send(stack: Stack, *, clients: int, batches: int, size: int = _BATCH):
    """Send each client's events to a run of its own; return what the clients saw, and the runs."""
    runs = [new_run(stack) for _ in range(clients)]
    jobs = []
    for number, run in enumerate(runs):
        events = made.made(batches * size, writer=f"writer-{number}", seed=number)
        jobs.append([_post(stack, run, body) for body in made.batches(events, size=size)])
    return load.together(stack.url, jobs), runs


def new_run(stack: Stack) -> str:
    with stack.client() as client:
        return client.post("/runs", json={"name": "bench"}).raise_for_status().json()["run_id"]


def _post(stack: Stack, run: str, body: bytes) -> bytes:
    return load.request(stack, f"/runs/{run}/events", body)


def copy_text(stack: Stack, *, clients: int, batches: int) -> float:
    with stack.owner() as owner:
        owner.execute(_TEXT_TABLE)
    blocks = [
        _text_blocks(made.made(batches * _BATCH, writer=f"writer-{n}", seed=n), run=n)
        for n in range(clients)
    ]
    columns = ", ".join(("workspace_id", "run_id", "seq", "writer_seq", *_COLUMNS, "payload"))
    return _copied(stack, f"copy bench_text ({columns}) from stdin", blocks, _BATCH * batches)


def _text_blocks(events: list[bytes], *, run: int) -> list[bytes]:
    lines = []
    for number, raw in enumerate(events, start=1):
        event = msgspec.json.decode(raw)
        ids = ["00000000-0000-0000-0000-000000000001", f"00000000-0000-0000-0000-{run:012}"]
        cells = [_cell(event.get(name)) for name in _COLUMNS]
        payload = msgspec.json.encode(event["payload"]).decode().replace("\\", "\\\\")
        lines.append("\t".join([*ids, str(number), str(number), *cells, payload]) + "\n")
    return ["".join(lines[i : i + _BATCH]).encode() for i in range(0, len(lines), _BATCH)]


def _cell(value: object) -> str:
    return r"\N" if value is None else str(value)


def _copy_binary(stack: Stack, runs: list[str]) -> float:
    """Copy the rows of these runs into a table just like theirs, batch by batch, and time it."""
    with stack.owner() as owner:
        owner.execute("drop table if exists bench_rows")
        owner.execute("create table bench_rows (like events including all)")
        owner.execute("grant all on bench_rows to workbench_bench")
    with psycopg.connect(stack.bench_url) as bench:
        blocks = [_binary_blocks(bench, run) for run in runs]
    return _copied(
        stack, "copy bench_rows from stdin (format binary)", blocks, _BATCH * len(blocks[0])
    )


def _binary_blocks(bench: psycopg.Connection, run: str) -> list[bytes]:
    (count,) = bench.execute("select count(*) from events where run_id = %s", [run]).fetchone()
    blocks = []
    for first in range(1, count + 1, _BATCH):
        block = io.BytesIO()
        query = (
            f"copy (select * from events where run_id = '{run}' and seq >= {first} "
            f"and seq < {first + _BATCH}) to stdout (format binary)"
        )
        with bench.cursor().copy(query) as copy:
            for data in copy:
                block.write(data)
        blocks.append(block.getvalue())
    return blocks


def _copied(stack: Stack, query: str, blocks: list[list[bytes]], per_client: int) -> float:
    """Copy each list of blocks on a connection of its own, a commit after each; rows a second."""

    def work(bench: psycopg.Connection, block: bytes) -> None:
        with bench.cursor().copy(query) as copy:
            copy.write(block)

    return per_client * len(blocks) / _seconds(stack, work, blocks)


def _seconds(stack: Stack, work: Callable[..., object], jobs: list[list]) -> float:
    """Do each list of jobs on a connection of its own, all at once, a commit after each job."""
    ready = threading.Barrier(len(jobs) + 1)

    def one_by_one(mine: list) -> None:
        with psycopg.connect(stack.bench_url, autocommit=True) as bench:
            bench.execute("set synchronous_commit = on")
            ready.wait()
            for job in mine:
                work(bench, job)

    threads = [threading.Thread(target=one_by_one, args=(mine,)) for mine in jobs]
    for thread in threads:
        thread.start()
    ready.wait()
    began = time.monotonic()
    for thread in threads:
        thread.join()
    return time.monotonic() - began


# ---- one long run


def _long_run(stack: Stack) -> Iterator[Figure]:
    say("one run of 10,000 events")
    firsts, lasts = [], []
    stack.forget_peak()
    for _ in range(_ROUNDS):
        sent, _ = send(stack, clients=1, batches=_BATCHES)
        tenth = _BATCHES // 10
        firsts.append(statistics.median(sent[0].waits[:tenth]))
        lasts.append(statistics.median(sent[0].waits[-tenth:]))
    memory = stack.memory()
    yield Figure(
        figure="one run of 10,000 events: last tenth of its batches",
        value=statistics.median(lasts) * 1000,
        unit="ms",
        baseline="first tenth",
        baseline_value=statistics.median(firsts) * 1000,
        wanted="ratio <= 1.1",
    )
    yield Figure(
        figure="peak memory of the web process over that run",
        value=memory["peak"],
        unit="MB",
        baseline="after it",
        baseline_value=memory["now"],
        wanted="<= 150 MB, flat",
    )


# ---- single events


def _single(stack: Stack) -> Iterator[Figure]:
    count, rates, rows = 400, [], []
    for turn in range(_ROUNDS):
        say(f"single events, 8 clients, round {turn + 1} of {_ROUNDS}")
        sent, _runs = send(stack, clients=8, batches=count, size=1)
        rates.append(load.rate(sent, events=8 * count))
        rows.append(one_row_a_commit(stack, count))
    yield Figure(
        figure="single events/s, 8 clients",
        value=statistics.median(rates),
        unit="events/s",
        baseline="one row a commit, 8 connections",
        baseline_value=statistics.median(rows),
        wanted="ratio >= 1.2",
    )


def one_row_a_commit(stack: Stack, count: int) -> float:
    """Insert the same events one by one, each its own transaction, on eight connections."""
    with stack.owner() as owner:
        owner.execute(_TEXT_TABLE)
    columns = ("workspace_id", "run_id", "seq", "writer_seq", *_COLUMNS, "payload")
    query = (
        f"insert into bench_text ({', '.join(columns)}) values ({', '.join(['%s'] * len(columns))})"
    )
    rows = [_rows(made.made(count, writer=f"writer-{n}", seed=n), run=n) for n in range(8)]

    def work(bench: psycopg.Connection, row: list[object]) -> None:
        bench.execute(query, row)

    return 8 * count / _seconds(stack, work, rows)


def _rows(events: list[bytes], *, run: int) -> list[list[object]]:
    found = []
    for number, raw in enumerate(events, start=1):
        event = msgspec.json.decode(raw)
        ids = ["00000000-0000-0000-0000-000000000001", f"00000000-0000-0000-0000-{run:012}"]
        payload = msgspec.json.encode(event["payload"]).decode()
        found.append([*ids, number, number, *(event.get(name) for name in _COLUMNS), payload])
    return found
