import asyncio
import contextlib
import json
import random
import signal
import socket
import threading
from pathlib import Path
from urllib.parse import urlsplit
from uuid import NAMESPACE_URL, uuid5

import httpx
import psutil
import psycopg
import pytest
from following import PATIENCE_S, Stream, interrupted, until
from speaking import Client, event
from workbench_server.live.bell import Bell, mark_of

HEADERS = {
    "content-type": "text/event-stream",
    "cache-control": "no-store",
    "x-accel-buffering": "no",
}


def step(number, *, writer="w", **payload):
    fields = {"step_id": f"{writer}{number}", "name": "n", "writer": writer}
    return event("step_started", number, payload, **fields)


def begun(client, *, events=1):
    """A run whose writer `w` has sent so many events."""
    run_id = client.create(name="followed")
    client.send(run_id, [event("run_started", 1, {"input": 1}), *map(step, range(2, events + 1))])
    return run_id


def ended(number, **writers):
    return event("run_ended", number, {"output": 1, "writers": {"w": number} | writers},
                 status="done")  # fmt: skip


def refused(server, run_id, *, api_key=None, last=None, query=""):
    with Stream(server.url, api_key or server.api_key, run_id, last=last, query=query) as stream:
        assert stream.answer.headers["content-type"] == "application/problem+json"
        return stream.status, json.loads(stream.answer.read())["code"]


@pytest.fixture
def speaks():
    """Plain HTTP to a server of the test's own."""
    with contextlib.ExitStack() as stack:

        def speak(server):
            client = Client(server.url, server.api_key)
            stack.callback(client.http.close)
            return client

        yield speak


# ---- what a stream says


def test_a_stream_gives_what_is_there_then_what_comes_then_the_end(server, client):
    run_id = begun(client, events=3)
    with Stream(server.url, server.api_key, run_id) as stream:
        said = iter(stream)
        first = next(said)
        there = [next(said) for _ in range(3)]
        client.send(run_id, [step(4), step(5)])
        come = [next(said), next(said)]
        client.send(run_id, [ended(6)])
        *_, last_event, end = said
    assert {name: stream.answer.headers[name] for name in HEADERS} == HEADERS
    facts = {"status": "running", "health": "ok", "last_seq": 3}
    assert (first.name, first.id, first.data | facts) == ("heartbeat", None, first.data)
    assert 0 < first.retry <= 1000
    events = [*there, *come, last_event]
    assert [one.id for one in events] == [1, 2, 3, 4, 5, 6]
    assert [one.name for one in events] == [one.data["event_type"] for one in events]
    assert [one.data for one in events] == client.events(run_id)
    assert (end.name, end.id) == ("end", None)
    assert end.data == {"status": "done", "health": "ok", "last_seq": 6}


@pytest.mark.parametrize(
    ("last", "query", "first"),
    [(None, "", 1), (3, "", 4), (None, "?after=2", 3), (3, "?after=1", 4), (0, "?after=4", 1)],
)
def test_it_goes_on_after_the_last_id_else_after_the_query(server, client, last, query, first):
    run_id = begun(client, events=5)
    with Stream(server.url, server.api_key, run_id, last=last, query=query) as stream:
        assert next(stream.events()).id == first


def test_a_run_that_has_ended_is_told_to_its_end_and_resumed_at_its_end(server, client):
    run_id = begun(client, events=2)
    client.send(run_id, [ended(3)])
    for last, ids in ((0, [None, 1, 2, 3, None]), (2, [None, 3, None]), (3, [None, None])):
        with Stream(server.url, server.api_key, run_id, last=last) as stream:
            said = list(stream)
        assert [one.id for one in said] == ids
        assert said[-1].name == "end"


def test_a_payload_of_several_lines_arrives_whole(server, client):
    run_id = begun(client)
    raw = b'{"event_type":"step_started","writer":"w","writer_seq":2,"payload":{\n"a":\r\n[1,\n2]}}'
    assert client.send(run_id, [raw]).status_code == 200
    with Stream(server.url, server.api_key, run_id, last=1) as stream:
        assert next(stream.events()).data["payload"] == {"a": [1, 2]}


def test_a_long_run_comes_in_pages_without_a_gap(server, client):
    run_id = begun(client, events=1800)
    client.send(
        run_id, [step(1801, text="x" * 600_000), step(1802, text="y" * 600_000), ended(1803)]
    )
    with Stream(server.url, server.api_key, run_id) as stream:
        events = list(stream.events())
    assert [one.id for one in events] == list(range(1, 1804))
    assert events[1801].data["payload"]["text"] == "y" * 600_000


def test_the_end_waits_for_an_announced_writer(serving, speaks):
    server = serving(heartbeat_s=0.05)
    client = speaks(server)
    run_id = begun(client)
    client.send(run_id, [ended(2, late=1)])
    with server.follow(run_id) as stream:
        said = iter(stream)
        seen = [next(said).name for _ in range(6)]
        client.send(run_id, [step(1, writer="late")])
        *_, late, end = said
    assert seen == ["heartbeat", "run_started", "run_ended", *["heartbeat"] * 3]
    assert (late.id, late.data["writer"], end.name) == (3, "late", "end")


def test_the_end_waits_no_longer_than_for_a_run_that_is_given_up(serving, speaks, database):
    server = serving(heartbeat_s=0.05)
    client = speaks(server)
    run_id = begun(client)
    client.send(run_id, [ended(2, late=1)])
    with server.follow(run_id) as stream:
        assert [next(stream.events()).id for _ in "12"] == [1, 2]
        with psycopg.connect(database.owner_url) as owner:
            owner.execute("update runs set health = 'incomplete' where run_id = %s", [run_id])
        *_, end = stream
    assert (end.name, end.data["health"], end.data["last_seq"]) == ("end", "incomplete", 2)


def test_a_heartbeat_follows_each_silence_and_tells_how_the_run_does(serving, speaks):
    server = serving(heartbeat_s=0.05)
    client = speaks(server)
    run_id = begun(client)
    with server.follow(run_id, last=1) as stream:
        said = iter(stream)
        assert [next(said).name for _ in range(4)] == ["heartbeat"] * 4
        client.send(run_id, [event("interrupted", 2, {})])
        facts = next(
            one.data for one in said if one.name == "heartbeat" and one.data["last_seq"] > 1
        )
    assert (facts["status"], facts["health"], facts["last_seq"]) == ("waiting", "ok", 2)


# ---- who may follow what


@pytest.mark.parametrize("last", ["x", "-1", "1.5", "", "٣", "2", 2**63, "9" * 50])
def test_a_last_id_that_is_no_seq_of_the_run_is_refused(server, client, last):
    assert refused(server, begun(client), last=str(last).encode()) == (422, "usage_error")


def test_a_place_beyond_the_run_is_refused_in_the_query_too(server, client):
    run_id = begun(client)
    assert refused(server, run_id, query="?after=2") == (422, "usage_error")
    assert refused(server, run_id, query="?after=-1") == (422, "usage_error")


def test_an_unknown_run_and_one_of_another_workspace_are_the_same(server, client, other):
    theirs = begun(other)
    for run_id in (theirs, "01980000-0000-7000-8000-000000000000", "no-uuid"):
        assert refused(server, run_id) == (404, "run_not_found")


def test_the_same_run_id_in_two_workspaces_is_followed_apart(server, client, other):
    run_id = begun(client)
    other.create(name="theirs", run_id=run_id)
    other.send(run_id, [event("run_started", 1, {"input": "theirs"})])
    keys = (server.api_key, other.http.headers["authorization"].removeprefix("Bearer "))
    with (
        Stream(server.url, keys[0], run_id) as mine,
        Stream(server.url, keys[1], run_id) as theirs,
    ):
        inputs = [next(stream.events()).data["payload"]["input"] for stream in (mine, theirs)]
        other.send(run_id, [step(2), event("run_ended", 3, {"writers": {"w": 3}}, status="done")])
        assert [one.id for one in theirs.events()] == [2, 3]
        client.send(run_id, [step(2), ended(3)])
        assert [one.data for one in mine.events()] == client.events(run_id)[1:]
    assert inputs == [1, "theirs"]


def test_a_missing_key_is_refused(server, client):
    assert refused(server, begun(client), api_key="none") == (401, "unauthenticated")


def test_a_key_that_is_revoked_ends_its_streams_and_no_other(serving, speaks, database):
    server = serving(recheck_s=0.1, heartbeat_s=0.1)
    client = speaks(server)
    run_id = begun(client)
    made = client.http.post("/keys", json={"role": "reader", "name": "short-lived"})
    assert made.status_code == 201, made.text
    with (
        Stream(server.url, made.json()["secret"], run_id) as revoked,
        server.follow(run_id) as kept,
    ):
        assert next(revoked.events()).id == next(kept.events()).id == 1
        assert client.http.delete(f"/keys/{made.json()['key']['key_id']}").status_code in (200, 204)
        *_, last = revoked
        client.send(run_id, [step(2)])
        assert next(kept.events()).id == 2
    assert (last.name, last.data["code"]) == ("problem", "unauthenticated")


def test_a_workspace_has_so_many_streams_at_once(serving, speaks):
    server = serving(heartbeat_s=0.05)
    client = speaks(server)
    run_id = begun(client)
    client.http.patch("/limits", json={"streams": 2})
    with server.follow(run_id), server.follow(run_id), server.follow(run_id) as third:
        assert third.status == 429
        assert json.loads(third.answer.read())["code"] == "rate_limited"
        assert int(third.answer.headers["retry-after"]) > 0
    until(lambda: server.streams() == 0, "the streams are closed")
    with server.follow(run_id) as again:
        assert again.status == 200


# ---- the seam


def writers_of(client, run_id, rng, *, writers=4, each=60):
    """Append side by side, in batches of random size; the last to finish ends the run."""
    names = [f"v{number}" for number in range(writers)]

    def write(name, seed):
        sizes, number = random.Random(seed), 1
        while number <= each:
            last = min(each, number + sizes.randrange(7))
            events = [step(one, writer=name) for one in range(number, last + 1)]
            assert client.send(run_id, events).status_code == 200
            number = last + 1

    threads = [threading.Thread(target=write, args=(name, rng.random())) for name in names]

    def all_of_them():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        client.send(run_id, [ended(2, **dict.fromkeys(names, each))])

    return threading.Thread(target=all_of_them), 2 + writers * each


def reader_of(streams, seed, ids):
    """Follow to the end, broken off at random points and resumed by the last id."""
    rng = random.Random(seed)

    def read():
        over = False
        while not over:
            with rng.choice(streams)(ids[-1] if ids else 0) as stream:
                left = rng.choice([1, 5, 30, 1000])
                for said in stream:
                    if said.id is not None:
                        ids.append(said.id)
                        left -= 1
                    over = said.name == "end"
                    if not left:
                        break

    return threading.Thread(target=read)


@pytest.mark.parametrize("seed", range(3))
def test_readers_that_reconnect_under_concurrent_writers_see_each_event_once(serving, speaks, seed):
    servers = [serving(), serving()]
    client = speaks(servers[0])
    run_id = begun(client)
    writing, total = writers_of(client, run_id, random.Random(seed))
    streams = [lambda last, server=server: server.follow(run_id, last=last) for server in servers]
    seen = [[] for _ in range(20)]
    readers = [
        reader_of(streams, (seed, number).__hash__(), ids) for number, ids in enumerate(seen)
    ]
    for thread in (writing, *readers):
        thread.start()
    for thread in (writing, *readers):
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
    assert seen == [list(range(1, total + 1))] * len(readers)


# ---- who wakes whom


def arrives(writer, reader, client, *, heartbeats):
    """Whether an event written at one server comes to a follower at another."""
    run_id = begun(client(writer))
    with reader.follow(run_id, last=1) as stream:
        assert stream.heard(heartbeats=1) is None
        client(writer).send(run_id, [step(2)])
        return stream.heard(heartbeats=heartbeats) is not None


NEVER = {"poll_s": 3600, "heartbeat_s": 0.1}


def test_a_commit_wakes_the_followers_of_its_own_server(serving, speaks):
    server = serving(listen=0, **NEVER)
    assert arrives(server, server, speaks, heartbeats=100)


def test_a_commit_wakes_the_followers_of_another_server(serving, speaks):
    writer, reader = serving(**NEVER), serving(**NEVER)
    assert arrives(writer, reader, speaks, heartbeats=100)


def test_without_a_wake_up_the_table_is_looked_at(serving, speaks):
    writer, reader = serving(listen=0, **NEVER), serving(listen=0, heartbeat_s=0.1)
    assert arrives(writer, reader, speaks, heartbeats=100)


def test_without_a_wake_up_and_a_look_nothing_arrives(serving, speaks):
    writer, reader = serving(listen=0, **NEVER), serving(listen=0, **NEVER)
    assert not arrives(writer, reader, speaks, heartbeats=20)


def listeners(owner, database):
    return owner.execute(
        "select pid from pg_stat_activity where datname = %s and query = 'listen workbench_live'",
        [database.name],
    ).fetchall()


def test_a_listener_that_was_cut_off_listens_again(serving, speaks, postgres, database):
    writer, reader = serving(**NEVER), serving(**NEVER)
    with postgres.owner() as owner:
        first = until(
            lambda: len(found := listeners(owner, database)) == 2 and found, "both listen"
        )
        for (pid,) in first:
            owner.execute("select pg_terminate_backend(%s)", [pid])

        def others():  # one that was told to end may still be there
            found = set(listeners(owner, database))
            return len(found) == 2 and not found & set(first)

        until(others, "both listen again")
    assert arrives(writer, reader, speaks, heartbeats=100)


def test_what_was_written_while_nobody_listened_is_found_afterwards(
    serving, speaks, postgres, database
):
    writer, reader = serving(**NEVER), serving(**NEVER)
    client = speaks(writer)
    run_id = begun(client)
    with reader.follow(run_id, last=1) as stream, postgres.owner() as owner:
        assert stream.heard(heartbeats=1) is None
        with interrupted(database, owner):
            assert stream.heard(heartbeats=3) is None
        until(lambda: client.send(run_id, [step(2)]).status_code == 200, "the database is back")
        assert stream.heard(heartbeats=200).id == 2
        client.send(run_id, [step(3)])
        assert stream.heard(heartbeats=200).id == 3


def test_notifications_are_few_and_name_nobody(serving, speaks, database):
    server = serving()
    client = speaks(server)
    run_id = begun(client)
    with psycopg.connect(database.owner_url, autocommit=True) as owner:
        owner.execute("listen workbench_live")
        threads = [
            threading.Thread(
                target=lambda name: [client.send(run_id, [step(n, writer=name)]) for n in range(1, 41)],
                args=(f"v{number}",),
            )
            for number in range(4)
        ]  # fmt: skip
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        client.send(run_id, [step(2)])
        said = [one.payload for one in owner.notifies(timeout=1)]
    workspace_id = str(
        httpx.get(
            f"{server.url}/v1/health", headers={"Authorization": f"Bearer {server.api_key}"}
        ).json()["workspace"]["id"]
    )
    assert 1 <= len(said) < 161
    assert len({one[8:] for one in said}) == 1
    for text in said:
        assert len(text) == 8 + 16
        for secret in (run_id, workspace_id):
            assert secret[:8] not in text


@pytest.mark.parametrize(
    ("rung", "sizes"),
    [
        (["one"] * 1000, [1]),
        (range(300), [300]),
        (range(1200), [493, 493, 214]),
        (range(9000), [0]),
    ],
)
def test_many_changes_are_few_notifications(database, rung, sizes):
    places = [(uuid5(NAMESPACE_URL, "w"), uuid5(NAMESPACE_URL, str(name))) for name in rung]

    async def heard():
        bell = Bell(database.app_url, lambda _: None)
        connection = await psycopg.AsyncConnection.connect(database.owner_url, autocommit=True)
        async with connection:
            await connection.execute("listen workbench_live")
            for place in places:
                bell.ring(place)
            flushing = asyncio.create_task(bell.flush())
            first = [one.payload async for one in connection.notifies(stop_after=len(sizes))]
            bell.ring((uuid5(NAMESPACE_URL, "w"), uuid5(NAMESPACE_URL, "last")))
            (last,) = [one.payload async for one in connection.notifies(stop_after=1)]
            flushing.cancel()
        return first, last

    first, last = asyncio.run(heard())
    assert [len(one[8:]) // 16 for one in first] == sizes
    assert len(last[8:]) == 16
    marks = {one[at : at + 16] for one in first for at in range(8, len(one), 16)}
    assert marks == ({"*"} if sizes == [0] else set(map(mark_of, places)))


# ---- many, slow, and ended


def test_idle_followers_hold_no_connection_of_the_database(serving, speaks, postgres, database):
    server = serving()
    client = speaks(server)
    runs = [begun(client) for _ in range(10)]
    with contextlib.ExitStack() as stack:
        streams = [stack.enter_context(server.follow(runs[n % 10])) for n in range(300)]
        for stream in streams:
            assert next(stream.events()).id == 1
        assert client.http.get("/runs").status_code == 200
        with postgres.owner() as owner:
            count = owner.execute(
                "select count(*) from pg_stat_activity where datname = %s", [database.name]
            ).fetchone()[0]
        assert count < 40
        client.send(runs[3], [step(2)])
        assert [next(stream.events()).id for stream in streams[3::10]] == [2] * 30


@pytest.fixture
def a_heavy_run(speaks):
    def make(server, *, events=120):
        client = speaks(server)
        run_id = begun(client)
        rng = random.Random(1)
        for start in range(2, events + 2, 20):
            heavy = [step(n, text=rng.randbytes(100_000).hex()) for n in range(start, start + 20)]
            assert client.send(run_id, heavy).status_code == 200
        return run_id

    return make


def unread(server, run_id):
    """Ask for a stream, and read nothing of it."""
    parts = urlsplit(server.url)
    asking = socket.create_connection((parts.hostname, parts.port), timeout=PATIENCE_S)
    asking.sendall(
        f"GET /v1/runs/{run_id}/events/stream HTTP/1.1\r\nHost: x\r\n"
        f"Authorization: Bearer {server.api_key}\r\n\r\n".encode()
    )
    return asking


def test_a_reader_that_takes_nothing_is_told_and_let_go(serving, a_heavy_run):
    server = serving(patience_s=1)
    run_id = a_heavy_run(server)
    with server.follow(run_id) as stream:
        said = iter(stream)
        ids = [next(said).id, next(said).id]
        threading.Event().wait(2)  # longer than its patience, shorter than what follows it
        rest = list(said)
    ids += [one.id for one in rest if one.id is not None]
    assert ids == [None, *range(1, len(ids))]
    assert len(ids) < 122
    assert (rest[-1].name, rest[-1].data) == ("slow", {"last_seq": len(ids) - 1})
    with server.follow(run_id, last=len(ids) - 1) as stream:
        assert next(stream.events()).id == len(ids)


def peak_mb(process):
    facts = Path(f"/proc/{process.pid}/status").read_text()
    return int(facts.split("VmHWM:")[1].split()[0]) / 1024


def forget_peak(process):
    Path(f"/proc/{process.pid}/clear_refs").write_text("5")
    return peak_mb(process)


def test_readers_that_take_nothing_cost_little_and_go_in_the_end(serving, a_heavy_run):
    server = serving(patience_s=0.5)
    run_id = a_heavy_run(server)
    process = psutil.Process(server.process.pid)
    before = forget_peak(process)
    with contextlib.ExitStack() as stack:
        for _ in range(30):
            stack.enter_context(unread(server, run_id))
        until(lambda: server.streams() == 30, "all are being followed")
        until(lambda: server.streams() == 0, "all were let go")
        grown = peak_mb(process) - before
        until(lambda: len(process.net_connections("tcp")) < 30, "nothing is kept for them")
    assert grown < 12  # of 700 MB that they asked for


def test_a_reader_that_went_away_is_forgotten(serving, speaks):
    server = serving()
    run_id = begun(speaks(server))
    for _ in range(3):
        with server.follow(run_id) as stream:
            assert next(stream.events()).id == 1
            assert server.streams() == 1
        until(lambda: server.streams() == 0, "it is forgotten")


def test_a_server_that_is_told_to_stop_says_so_and_stops(serving, speaks, a_heavy_run):
    server = serving()
    run_id = begun(speaks(server))
    heavy = a_heavy_run(server)
    with contextlib.ExitStack() as stack:
        streams = [stack.enter_context(server.follow(run_id)) for _ in range(20)]
        stack.enter_context(unread(server, heavy))
        for stream in streams:
            assert next(stream.events()).id == 1
        server.process.send_signal(signal.SIGTERM)
        lasts = [list(stream)[-1] for stream in streams]
        assert server.process.wait(PATIENCE_S) == 0
    assert {(one.name, one.data["last_seq"]) for one in lasts} == {("shutdown", 1)}
    assert all(0 < one.retry <= 1000 for one in lasts)
    assert len({one.retry for one in lasts}) > 1
