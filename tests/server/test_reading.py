"""Blocks of a run's rows: of any size, one behind the other, and nobody else's."""

import asyncio
import json
import secrets
import time
from uuid import UUID

import httpx
import psycopg
import pyarrow as pa
import pytest
from psycopg.rows import dict_row
from speaking import a_whole_run, event
from workbench_server.database import make_pool
from workbench_server.queries import queries
from workbench_server.reading import blocks as reading
from workbench_server.reading.columns import BODIES, EVENTS, TIMELINE, batches

from workbench.hashing import digest_of

ARROW = "application/vnd.apache.arrow.stream"


def long_run(client, *, events=41, size=10):
    """A run whose payloads hold random letters, which hardly can be compressed."""
    run_id = client.create()
    texts = (secrets.token_hex(size) for _ in range(events))
    log = [event("state_changed", n, {"changes": {"x": x}}) for n, x in enumerate(texts, 1)]
    assert client.send(run_id, log).status_code == 200
    return run_id


def within(server, work):
    """Run something with a pool, and see that it got all its connections back."""

    async def run():
        pool = make_pool(server.database.app_url, size=2)
        await pool.open(wait=True)
        try:
            made = await work(pool)
            async with asyncio.timeout(30):  # a connection that the pool still makes comes soon
                while (stats := pool.get_stats())["pool_available"] < stats["pool_size"]:  # noqa: ASYNC110 - the pool says nothing of it
                    await asyncio.sleep(0.01)
            return made
        finally:
            await pool.close()

    return asyncio.run(run())


def wanted_of(server, pool, run_id, **more):
    return reading.Wanted(
        pool=pool, workspace_id=server.workspace.workspace_id, run_id=UUID(run_id), **more
    )


def read(server, run_id, schema, **more):
    """All blocks of a run, and the table of their rows."""

    async def work(pool):
        wanted = wanted_of(server, pool, run_id, **more)
        start = reading.body_blocks if schema is BODIES else reading.event_blocks
        return [block async for block in await start(wanted)]

    found = within(server, work)
    rows = [batch for block in found for batch in batches(block, schema)]
    return found, pa.Table.from_batches(rows, schema=schema)


@pytest.mark.parametrize("rows", [1, 7, 40, 41, 42])
def test_blocks_of_any_number_of_rows_are_one_run(server, client, monkeypatch, rows):
    run_id = long_run(client)
    _, whole = read(server, run_id, EVENTS)
    monkeypatch.setattr(reading, "_ROWS", dict.fromkeys(reading._ROWS, rows))

    found, parts = read(server, run_id, EVENTS)
    _, narrow = read(server, run_id, TIMELINE, columns="timeline")

    assert len(found) == -(-41 // rows)
    assert parts.equals(whole)
    assert parts["seq"].to_pylist() == list(range(1, 42))
    assert narrow.equals(whole.select(TIMELINE.names))


@pytest.mark.parametrize(("rows", "least"), [(1_000, 1), (3, 3)])
def test_a_block_holds_as_many_events_as_their_payloads_allow_and_one_at_least(
    server, client, monkeypatch, rows, least
):
    """With three rows a block, the ones ahead are read from where the last was thought to end."""
    run_id = long_run(client, events=9, size=2_000)
    _, whole = read(server, run_id, EVENTS)
    monkeypatch.setattr(reading, "_ROWS", dict.fromkeys(reading._ROWS, rows))
    for most, blocks in ((1, 9), (2_500, 5), (10**9, least)):
        monkeypatch.setattr(reading, "_BYTES", most)
        found, parts = read(server, run_id, EVENTS)
        assert len(found) == blocks
        assert parts.equals(whole)


def test_a_batch_holds_no_more_than_memory_should(server, client, monkeypatch):
    run_id = client.create()
    same = [event("state_changed", n, {"changes": {"x": "a" * 100_000}}) for n in range(1, 10)]
    client.send(run_id, same)
    monkeypatch.setattr("workbench_server.reading.columns._MOST_UNPACKED", 250_000)

    [block], whole = read(server, run_id, EVENTS)

    assert [batch.num_rows for batch in batches(block, EVENTS)] == [2, 2, 2, 2, 1]
    assert [len(json.loads(text)["changes"]["x"]) for text in whole["payload"].to_pylist()] == (
        [100_000] * 9
    )


def test_bodies_come_in_order_and_all_of_them(server, client, monkeypatch):
    bodies = {digest_of(body): body for body in ({"role": "user", "content": n} for n in "abcdefg")}
    run_id = client.create()
    client.send(run_id, [event("run_started", 1)], bodies)
    for rows in (1, 3, 100):
        monkeypatch.setattr(reading, "_ROWS", dict.fromkeys(reading._ROWS, rows))
        _, found = read(server, run_id, BODIES)
        assert found["digest"].to_pylist() == sorted(bodies)
        assert [json.loads(text) for text in found["body"].to_pylist()] == [
            bodies[digest] for digest in sorted(bodies)
        ]


def test_arrow_bodies_are_the_json_ones(client):
    events, bodies = a_whole_run()
    run_id = client.create()
    client.send(run_id, events, bodies)
    for compression in ("none", "lz4"):
        raw = client.http.get(
            f"/runs/{run_id}/bodies", params={"compression": compression}, headers={"Accept": ARROW}
        ).content
        rows = pa.ipc.open_stream(raw).read_all().to_pylist()
        assert {row["digest"]: json.loads(row["body"]) for row in rows} == bodies


# ---- readers that go


def test_a_reader_that_goes_gives_its_connection_back(server, client, monkeypatch):
    run_id = long_run(client, events=200)
    monkeypatch.setattr(reading, "_ROWS", dict.fromkeys(reading._ROWS, 1))

    async def leave(pool):
        for taken in range(1, 12):
            stream = await reading.event_blocks(wanted_of(server, pool, run_id))
            for _ in range(taken):
                await anext(stream)
            if taken % 2:
                await asyncio.sleep(0)  # the next query is on its way by now
            await stream.aclose()
        whole = await reading.event_blocks(wanted_of(server, pool, run_id))
        return [block["last"] async for block in whole]

    assert within(server, leave) == list(range(1, 201))


def test_clients_that_break_off_leave_no_transaction_behind(server, client):
    run_id = long_run(client, events=3_000, size=3_000)
    headers = {**client.http.headers, "Accept": ARROW}
    for _ in range(40):
        with (
            httpx.Client(headers=headers) as leaving,
            leaving.stream("GET", f"{server.url}/v1/runs/{run_id}/events") as answer,
        ):
            assert next(answer.iter_raw())

    assert len(client.events(run_id)) == 3_000
    deadline = time.monotonic() + 20
    while open_transactions(server):
        assert time.monotonic() < deadline, open_transactions(server)
        time.sleep(0.05)


def open_transactions(server):
    with psycopg.connect(server.database.owner_url) as owner:
        return owner.execute(
            "select query from pg_stat_activity where application_name = 'workbench'"
            " and datname = current_database() and (state <> 'idle' or xact_start is not null)"
        ).fetchall()


# ---- walls


@pytest.mark.parametrize("name", ["length", "events", "timeline", "bodies"])
def test_each_query_names_the_workspace_itself(server, client, other, name):
    """Asked by a superuser, whom no policy binds."""
    events, bodies = a_whole_run()
    run_id = client.create()
    client.send(run_id, events, bodies)
    there = other.http.get("/health").json()["workspace"]["id"]
    key = {"run_id": run_id, "after": 0, "before": 100, "rows": 9, "bytes": 9**9, "failed": False}
    key |= {"after": b""} if name == "bodies" else {}
    with psycopg.connect(server.database.owner_url, row_factory=dict_row) as owner:
        ask = lambda workspace: owner.execute(  # noqa: E731 - twice, here
            queries("reading")[name], key | {"workspace_id": workspace}, binary=True
        ).fetchone()
        mine, theirs = ask(str(server.workspace.workspace_id)), ask(there)

    assert (mine.get("lines") or mine["length"]) is not None
    assert theirs is None or theirs["lines"] is None


def test_another_workspaces_run_is_not_there(client, other):
    run_id = long_run(client)
    for path in ("events", "bodies"):
        for accept in (ARROW, "application/json"):
            answer = other.http.get(f"/runs/{run_id}/{path}", headers={"Accept": accept})
            assert answer.json()["code"] == "run_not_found"
