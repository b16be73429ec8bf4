"""Why it is no faster: what the parts of the work take, each by itself, on the same machine.

A client that waits for each answer waits for the parts one after the other: HTTP that only reads,
the check in Python, the statement in Postgres. What goes side by side is bound by the processors:
how much of them each process takes an event, or a message. Where the web process's share of them
goes is told by a server that is sampled while it works.
"""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import events as made
import importing
import ingest
import load
import psycopg
import reading
import sampled
from bare import serving
from figure import Figure, median, say
from workbench_server import squeezing
from workbench_server.ingest import committing, preparing
from workbench_server.queries import queries

from workbench import local
from workbench.importers import import_paths
from workbench.store import connect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from stack import Stack
    from workbench_server.ingest.writing import Prepared

_BATCH, _BATCHES, _SINGLES, _LONG = 100, 100, 400, 200_000
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def figures(stack: Stack) -> Iterator[Figure]:
    yield from _one_after_the_other(stack)
    for clients, size in ((1, _BATCH), (8, _BATCH), (8, 1)):
        yield from _appending(stack, clients, size)
        yield from _profile(stack, clients, size)
    yield _single(stack)
    yield from _reading(stack)
    yield from _importing(stack)


# ---- one client


def _one_after_the_other(stack: Stack) -> Iterator[Figure]:
    say("the parts of a batch, each by itself")
    bodies = list(made.batches(made.made(_BATCH * _BATCHES), size=_BATCH))
    run_id = ingest.new_run(stack)
    sent = [_sent(stack, run_id, body) for body in bodies]
    copied_ms = 1000 * _BATCH / ingest.copy_text(stack, clients=1, batches=_BATCHES)
    parsed = [preparing._parsed(one) for one in sent]
    payloads = [preparing._final_payloads(one) for one in parsed]
    parts = {
        "HTTP, a bare FastAPI route that reads it": _read_only(stack, bodies),
        "reading its JSON": _each(preparing._parsed, sent),
        "compressing, in another thread": _each(squeezing.squeezed, payloads),
    }
    checked: list[Prepared] = []
    parts["checking it"] = _each(
        lambda pair: checked.append(preparing.checked(*pair)), zip(sent, parsed, strict=True)
    )
    for batch, texts in zip(checked, payloads, strict=True):
        preparing.packed(batch, squeezing.squeezed(texts))
    parts["writing it for Postgres"] = _each(committing.parameters_of, [[b] for b in checked])
    rows = [committing.parameters_of([batch]) for batch in checked]
    parts["the statement that stores it"] = _stored(stack, rows)
    for name, took in parts.items():
        yield _beside_copy(f"a batch of {_BATCH}: {name}", took, copied_ms)
    beside = parts["compressing, in another thread"]
    yield _beside_copy(
        f"a batch of {_BATCH}: all that follow one another", sum(parts.values()) - beside, copied_ms
    )


def _beside_copy(name: str, took_ms: float, copied_ms: float) -> Figure:
    return Figure(
        figure=name,
        value=took_ms,
        unit="ms",
        baseline="(a) COPY of text lines with a jsonb payload",
        baseline_value=copied_ms,
    )


def _sent(stack: Stack, run_id: str, body: bytes) -> preparing.Sent:
    return preparing.Sent(workspace_id=UUID(stack.workspace_id()), run_id=UUID(run_id), data=body)


def _read_only(stack: Stack, bodies: Iterable[bytes]) -> float:
    requests = [load.request(stack, "/any", body) for body in bodies]
    with serving() as address:
        (seen,) = load.together(address, [requests])
    return 1000 * median(seen.waits)


def _stored(stack: Stack, rows: Iterable[dict[str, Any]]) -> float:
    query = queries("ingest")["append_batches"]
    with psycopg.connect(stack.app_url, autocommit=True) as connection:

        def store(row: dict[str, Any]) -> None:
            stored = connection.execute(query, row, prepare=True).fetchone()
            if stored is None or None in stored[0]:
                raise RuntimeError("the batch was not stored")

        return _each(store, rows)


def _each(work: Callable[..., object], items: Iterable[object]) -> float:
    took = []
    for item in items:
        begun = time.perf_counter()
        work(item)
        took.append(time.perf_counter() - begun)
    return 1000 * median(took)


# ---- side by side


def _appending(stack: Stack, clients: int, size: int) -> Iterator[Figure]:
    work = _named(clients, size)
    say(f"{work}: what they take of the processors")
    batches = _requests(size) // clients
    events = clients * batches * size
    used = _Used(stack, but="the client")  # it makes the events meanwhile
    sent, _ = ingest.send(stack, clients=clients, batches=batches, size=size)
    wall_s = events / load.rate(sent, events=events)
    yield from used.each(work, "an event", count=events, wall_s=wall_s)


def _profile(stack: Stack, clients: int, size: int) -> Iterator[Figure]:
    work = _named(clients, size)
    say(f"{work}: what the web process does meanwhile")
    batches = 2 * _requests(size) // clients
    with sampled.serving(stack) as server:
        beside = replace(stack, url=server.url)
        ingest.send(beside, clients=clients, batches=10, size=size)
        before = _used_s(server.pid)
        server.begin()
        ingest.send(beside, clients=clients, batches=batches, size=size)
        used_s = _used_s(server.pid) - before
        shares = server.end()
    an_event_us = 1e6 * used_s / (clients * batches * size)
    for stage, share in shares.items():
        yield Figure(
            figure=f"{work}, the web process's time an event: {stage}",
            value=share * an_event_us,
            unit="µs",
            baseline="all of the web process",
            baseline_value=an_event_us,
        )


def _named(clients: int, size: int) -> str:
    what = "single events" if size == 1 else f"batches of {size}"
    return f"{what}, {clients} client{'s' * (clients > 1)}"


def _requests(size: int) -> int:
    return 200 if size > 1 else 3_200


def _reading(stack: Stack) -> Iterator[Figure]:
    say(f"what a read of {_LONG:,} events takes of the processors")
    with connect(stack.url, stack.api_key) as store:
        run_id = reading.fill(stack, store, _LONG)
        store.events(run_id, columns="timeline")
        used, begun = _Used(stack), time.perf_counter()
        store.events(run_id, columns="timeline")
        wall_s = time.perf_counter() - begun
    yield from used.each("reading the timeline's columns", "an event", count=_LONG, wall_s=wall_s)


def _importing(stack: Stack) -> Iterator[Figure]:
    folder = importing.folder_of_runs()
    if folder is None:
        return
    say("what an import takes of the processors")
    with local.open(workspace="limits") as store:
        used, begun = _Used(stack), time.perf_counter()
        messages = import_paths(store, "agentdojo", [folder]).messages
        wall_s = time.perf_counter() - begun
    yield from used.each("importing AgentDojo", "a message", count=messages, wall_s=wall_s)


class _Used:
    """What the processes have used of the processors since this was made."""

    def __init__(self, stack: Stack, *, but: str = "") -> None:
        self._stack, self._but = stack, but
        self._before = _processor_s(stack)

    def each(self, work: str, what: str, *, count: int, wall_s: float) -> Iterator[Figure]:
        after = _processor_s(self._stack)
        took = {name: after[name] - self._before[name] for name in after if name != self._but}
        for name, used_s in {**took, "all of them": sum(took.values())}.items():
            yield Figure(
                figure=f"{work}, processor time {what}: {name}",
                value=1e6 * used_s / count,
                unit="µs",
                baseline=f"from one to the next, on {os.cpu_count()} processors",
                baseline_value=1e6 * wall_s / count,
            )


def _processor_s(stack: Stack) -> dict[str, float]:
    """Return the seconds that this process, the web process and all of Postgres have had."""
    postgres = [pid for pid, name in _processes() if name == "postgres" and _is_ours(stack, pid)]
    return {
        "the client": time.process_time(),
        "the web process": _used_s(stack.server_pid),
        "Postgres": sum(map(_used_s, postgres)),
    }


def _processes() -> Iterator[tuple[int, str]]:
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            yield int(folder.name), (folder / "comm").read_text().strip()
        except OSError:
            continue  # it has just ended


def _is_ours(stack: Stack, pid: int) -> bool:
    """Say whether a process is the measured Postgres or a child of it."""
    leader = stack.postgres_pid
    return pid == leader or _fields(pid)[1] == str(leader)


def _used_s(pid: int) -> float:
    fields = _fields(pid)
    return (int(fields[11]) + int(fields[12])) * _TICK_S


def _fields(pid: int) -> list[str]:
    """Return what the kernel says of a process, from its state on."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


# ---- single events


def _single(stack: Stack) -> Figure:
    say("single events by 8 clients, bare")
    bodies = list(made.batches(made.made(_SINGLES), size=1))
    requests = [load.request(stack, "/any", body) for body in bodies]
    with serving() as address:
        sent = load.together(address, [requests] * 8)
    return Figure(
        figure="single events/s, 8 clients: a bare FastAPI route that reads and stores nothing",
        value=load.rate(sent, events=8 * _SINGLES),
        unit="events/s",
        baseline="one row a commit, 8 connections",
        baseline_value=ingest.one_row_a_commit(stack, _SINGLES),
    )
