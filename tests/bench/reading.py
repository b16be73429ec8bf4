"""A run into a polars frame over HTTP, against the plain way to the database and against a file.

The plain way is psycopg's rows from the same Postgres, made into a frame; the file is the same
columns as Parquet on disk.
"""

from __future__ import annotations

import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import events as made
import msgspec
import polars as pl
import psycopg
import zstandard
from figure import Figure, median, say

from workbench import frames
from workbench.schema import Event
from workbench.store import connect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stack import Stack

    from workbench.store import RemoteStore

_SHORT, _LONG, _WINDOW = 10_000, 1_000_000, 2_000
_KINDS = 500  # different payloads
_TIMELINE = list(frames.TIMELINE)
_TYPES = {
    "workspace_id": "uuid", "run_id": "uuid", "seq": "int8", "writer_seq": "int8",
    "started_at": "timestamptz", "received_at": "timestamptz", "duration_ms": "float8",
    "content_hash": "int8", "ordinal": "int8", "version": "int2", "event_type": "text",
    "writer": "text", "step_id": "text", "parent_step_id": "text", "kind": "text", "name": "text",
    "lane": "text", "status": "text", "effect": "text", "digest": "bytea", "signature": "bytea",
    "payload": "bytea",
}  # fmt: skip


def figures(stack: Stack) -> Iterator[Figure]:
    with connect(stack.url, stack.api_key) as store:
        say(f"a run of {_SHORT:,} events")
        short = fill(stack, store, _SHORT)
        yield from _short(stack, store, short)
        say(f"a run of {_LONG:,} events")
        long = fill(stack, store, _LONG)
        yield from _long(stack, store, long)


def _short(stack: Stack, store: RemoteStore, run_id: str) -> Iterator[Figure]:
    stack.forget_peak()
    for columns, names, wanted in (
        ("timeline", _TIMELINE, "<= 60"),
        ("all", list(frames.EVENTS), "<= 200"),
    ):
        ours = _median(lambda columns=columns: store.events(run_id, columns=columns))
        with _parquet(store.events(run_id, columns=columns)) as from_file:
            file = _median(from_file)
        plain = _median(lambda names=names: _plainly(stack, run_id, names))
        what = f"a {_SHORT:,}-event run into polars over HTTP, {columns} columns"
        yield Figure(
            figure=what,
            value=ours,
            unit="ms",
            baseline="psycopg's rows into polars, no HTTP",
            baseline_value=plain,
            wanted=wanted,
        )
        yield Figure(
            figure=what, value=ours, unit="ms", baseline="Parquet on disk", baseline_value=file
        )
    yield Figure(
        figure="the web process's memory while it was read", value=stack.memory()["peak"], unit="MB"
    )


def _long(stack: Stack, store: RemoteStore, run_id: str) -> Iterator[Figure]:
    stack.forget_peak()
    ours = _median(lambda: store.events(run_id, columns="timeline"), times=3)
    peak = stack.memory()["peak"]
    plain = _median(lambda: _plainly(stack, run_id, _TIMELINE), times=1)
    with _parquet(store.events(run_id, columns="timeline")) as from_file:
        file = _median(from_file, times=3)
    what = f"a {_LONG:,}-event run into polars over HTTP, timeline columns"
    yield Figure(
        figure=what,
        value=ours / 1000,
        unit="s",
        baseline="psycopg's rows into polars, no HTTP",
        baseline_value=plain / 1000,
        wanted="<= 2",
    )
    yield Figure(
        figure=what,
        value=ours / 1000,
        unit="s",
        baseline="Parquet on disk",
        baseline_value=file / 1000,
    )
    yield Figure(
        figure="the web process's highest memory meanwhile", value=peak, unit="MB", wanted="<= 150"
    )
    first = _LONG // 2
    yield Figure(
        figure=f"a window of {_WINDOW:,} events out of it",
        value=_median(
            lambda: store.events(run_id, columns="timeline", after=first, limit=_WINDOW), times=50
        ),
        unit="ms",
        baseline="psycopg's rows into polars, no HTTP",
        baseline_value=_median(
            lambda: _plainly(stack, run_id, _TIMELINE, after=first, limit=_WINDOW), times=20
        ),
        wanted="<= 15",
    )
    run = store.run(run_id)
    yield Figure(
        figure=f"a window of {_WINDOW:,} steps ({2 * _WINDOW:,} events), paired",
        value=_median(lambda: run.window(first, first + 2 * _WINDOW - 1), times=30),
        unit="ms",
        wanted="<= 15",
    )


def _median(work: Callable[[], object], *, times: int = 9) -> float:
    """Return the milliseconds it takes, after a first time that does not count."""
    work()
    took = []
    for _ in range(times):
        begun = time.perf_counter()
        work()
        took.append((time.perf_counter() - begun) * 1000)
    return median(took)


def _plainly(stack: Stack, run_id: str, names: list[str], **part: int) -> pl.DataFrame:
    listed = ", ".join(f'"{name}"' for name in names)
    query = (
        f"select {listed} from events"
        " where workspace_id = %s and run_id = %s and seq > %s order by seq limit %s"
    )
    workspace = stack.workspace_id()
    with psycopg.connect(stack.app_url) as connection:
        connection.execute("select set_config('workbench.workspace', %s, true)", [workspace])
        bounds = [part.get("after", 0), part.get("limit")]
        rows = connection.execute(query, [workspace, run_id, *bounds], binary=True).fetchall()
    if "payload" in names:
        unpack, place = zstandard.ZstdDecompressor().decompress, names.index("payload")
        rows = [(*row[:place], unpack(row[place]).decode(), *row[place + 1 :]) for row in rows]
    return pl.DataFrame(rows, schema=names, orient="row", infer_schema_length=None)


class _parquet:  # noqa: N801 - used as a function
    """Gives what reads a frame back from a Parquet file."""

    def __init__(self, frame: pl.DataFrame) -> None:
        self._frame = frame

    def __enter__(self) -> Callable[[], pl.DataFrame]:
        self._folder = tempfile.TemporaryDirectory(prefix="wb-bench-")
        path = Path(self._folder.name) / "events.parquet"
        self._frame.write_parquet(path)
        return lambda: pl.read_parquet(path)

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()


def fill(stack: Stack, store: RemoteStore, count: int) -> str:
    """Make a run of so many events by COPY: what is measured is reading."""
    compress = zstandard.ZstdCompressor(level=1).compress
    some = [msgspec.json.decode(raw, type=Event) for raw in made.made(_KINDS)]
    payloads = [compress(bytes(event.payload)) for event in some]
    workspace, run_id = UUID(stack.workspace_id()), uuid4()
    with psycopg.connect(stack.bench_url) as connection:
        copy = f"copy events ({', '.join(_TYPES)}) from stdin (format binary)"
        with connection.cursor().copy(copy) as sink:
            sink.set_types(list(_TYPES.values()))
            for number in range(count):
                event, payload = some[number % _KINDS], payloads[number % _KINDS]
                sink.write_row(_row(event, payload, number + 1, (workspace, run_id)))
    with stack.owner() as owner:
        owner.execute("select set_config('workbench.workspace', %s, false)", [str(workspace)])
        owner.execute(
            "insert into runs (workspace_id, run_id, header_hash, events, next_seq, started_at)"
            " values (%s, %s, '\\x00', %s, %s, %s)",
            [workspace, run_id, count, count + 1, some[0].started_at],
        )
        owner.execute("vacuum analyze events")
    return str(run_id)


def _row(event: Event, payload: bytes, seq: int, key: tuple[UUID, UUID]) -> tuple[object, ...]:
    step = (seq + 1) // 2
    at = event.started_at + timedelta(milliseconds=seq)
    signature = None if event.signature is None else bytes.fromhex(event.signature)
    return (
        *key, seq, seq, at, at, event.duration_ms, event.content_hash, step, 1, event.event_type,
        "w", f"w-{step}", f"w-turn-{step // 4}", event.kind, event.name, event.lane, event.status,
        event.effect, seq.to_bytes(32, "big"), signature, payload,
    )  # fmt: skip
