import gc
import itertools
import os
import signal
import threading

import polars as pl
import pytest
from following import PATIENCE_S, until
from hypothesis import given
from hypothesis import strategies as st
from speaking import Client, event

from workbench import frames
from workbench.errors import RunNotFound, Unauthenticated, Unavailable, UsageError
from workbench.store import RemoteStore, connect, read
from workbench.store.export import export
from workbench.store.follow import Following, Source
from workbench.store.sse import Blocks


def step(number, **payload):
    return event("step_started", number, payload, step_id=f"s{number}", name="n")


def begun(client, *, events=1):
    run_id = client.create(name="followed")
    client.send(run_id, [event("run_started", 1, {"input": 1}), *map(step, range(2, events + 1))])
    return run_id


def end(client, run_id, number):
    last = event("run_ended", number, {"output": 1, "writers": {"w": number}}, status="done")
    assert client.send(run_id, [last]).status_code == 200


@pytest.fixture
def alone(serving):
    """A server of the test's own, a client and a store."""

    class Alone:
        def __init__(self):
            self.server = serving()
            self.client = Client(self.server.url, self.server.api_key)
            self.store = connect(self.server.url, self.server.api_key)

    made = Alone()
    yield made
    made.store.close()
    made.client.http.close()


def test_the_frames_together_are_the_runs_events(store, client):
    run_id = begun(client, events=5)
    following = store.follow(run_id)
    seen = [next(following)]
    assert (following.seq, following.status, following.has_ended) == (5, "running", False)
    for number in (6, 7):
        client.send(run_id, [step(number, text="é\n")])
        seen.append(next(following))
    end(client, run_id, 8)
    seen += list(following)
    assert (following.seq, following.status, following.has_ended) == (8, "done", True)
    assert pl.concat(seen).schema == pl.Schema(frames.EVENTS)
    assert pl.concat(seen).equals(store.run(run_id).events)


def test_it_goes_on_after_a_seq_that_is_known(store, client):
    run_id = begun(client, events=4)
    run = store.run(run_id)
    known = run.events
    end(client, run_id, 5)
    rest = pl.concat(run.follow(after=known.height))
    assert rest["seq"].to_list() == [5]
    assert pl.concat([known, rest]).equals(run.refresh().events)
    assert list(run.follow(after=5)) == []


def test_what_lies_there_is_read_in_large_frames(store, client):
    run_id = begun(client, events=2_500)
    end(client, run_id, 2_501)
    seen = list(store.follow(run_id))
    assert seen[0].height == 2_501
    assert pl.concat(seen).equals(store.events(run_id))


def test_a_run_that_is_not_there_is_named_before_anything_is_followed(store, client):
    run_id = begun(client)
    with pytest.raises(RunNotFound, match="Did you mean") as caught:
        store.follow(run_id[:-1] + ("0" if run_id[-1] != "0" else "1"))
    assert caught.value.facts["nearest"] == [run_id]


def test_a_place_beyond_the_run_is_refused(store, client):
    with pytest.raises(UsageError, match="no such event yet"):
        next(store.follow(begun(client), after=2))


def test_it_ends_at_its_timeout_although_the_run_goes_on(store, client):
    run_id = begun(client)
    following = store.follow(run_id, timeout=0.3)
    assert [frame.height for frame in following] == [1]
    assert not following.has_ended


def test_another_thread_can_end_it(alone):
    run_id = begun(alone.client)
    following = alone.store.follow(run_id)
    seen = []
    widget = threading.Thread(target=lambda: seen.extend(following))
    widget.start()
    until(lambda: seen, "the first frame")
    following.close()
    widget.join(PATIENCE_S)
    assert not widget.is_alive()
    until(lambda: alone.server.streams() == 0, "its connection is closed")
    assert [frame.height for frame in seen] == [1]
    assert list(following) == []


def test_another_thread_can_end_it_over_a_local_socket_too(serving, tmp_path):
    path = str(tmp_path / "s")
    server = serving("--socket", path)
    client = Client(server.url, server.api_key)
    run_id = begun(client)
    client.http.close()
    with RemoteStore(server.url, server.api_key, local_socket=path) as store:
        following = store.follow(run_id)
        seen = []
        widget = threading.Thread(target=lambda: seen.extend(following))
        widget.start()
        until(lambda: seen, "the first frame")
        following.close()
        widget.join(PATIENCE_S)
        assert not widget.is_alive()


@pytest.mark.parametrize("leave", ["close", "with", "break"])
def test_its_connection_ends_with_it(alone, leave):
    run_id = begun(alone.client)
    if leave == "close":
        following = alone.store.follow(run_id)
        next(following)
        assert alone.server.streams() == 1
        following.close()
    elif leave == "with":
        with alone.store.follow(run_id) as following:
            next(following)
            assert alone.server.streams() == 1
    else:
        gc.disable()
        try:
            for _ in alone.store.follow(run_id):
                assert alone.server.streams() == 1
                break
        finally:
            gc.enable()
    until(lambda: alone.server.streams() == 0, "its connection is closed")


@pytest.fixture
def _interruptible():
    """Hear interrupts: a shell has what it runs in the background ignore them."""
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, former)


@pytest.mark.usefixtures("_interruptible")
def test_an_interrupt_ends_it_and_its_connection(alone):
    run_id = begun(alone.client)
    following = alone.store.follow(run_id)
    next(following)
    interrupt = threading.Timer(0.2, os.kill, [os.getpid(), signal.SIGINT])
    interrupt.start()
    with pytest.raises(KeyboardInterrupt):
        next(following)
    interrupt.join()
    until(lambda: alone.server.streams() == 0, "its connection is closed")
    end(alone.client, run_id, 2)
    assert [
        frame["seq"].to_list() for frame in alone.store.follow(run_id, after=following.seq)
    ] == [[2]]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_it_goes_on_when_the_server_comes_back(serving, number):
    server = serving()
    port = int(server.url.rsplit(":", 1)[1])
    client = Client(server.url, server.api_key)
    run_id = begun(client, events=3)
    seen = []
    with connect(server.url, server.api_key) as store:
        following = store.follow(run_id)
        widget = threading.Thread(target=lambda: seen.extend(following))
        widget.start()
        for turn in range(3):
            until(lambda last=3 + turn: following.seq == last, "it is up to date")
            server.process.send_signal(number)
            server.process.wait(PATIENCE_S)
            server = serving(port=port)
            assert client.send(run_id, [step(4 + turn)]).status_code == 200
        end(client, run_id, 7)
        widget.join(PATIENCE_S)
        assert not widget.is_alive()
        assert pl.concat(seen).equals(store.events(run_id))
    client.http.close()


def test_a_server_that_restarts_before_it_said_a_word_is_waited_for(serving):
    server = serving()
    port = int(server.url.rsplit(":", 1)[1])
    client = Client(server.url, server.api_key)
    run_id = begun(client, events=3)
    end(client, run_id, 4)
    with connect(server.url, server.api_key) as store:
        following = store.follow(run_id)
        server.kill()
        later = threading.Timer(0.5, serving, kwargs={"port": port})
        later.start()
        assert pl.concat(following)["seq"].to_list() == [1, 2, 3, 4]
        later.join()
    client.http.close()


def test_a_server_that_stays_away_is_given_up(alone):
    run_id = begun(alone.client)
    source = Source(wire=alone.store._wire, events=alone.store.events, patience_s=0.5)
    following = Following(source, run_id, after=0, timeout=None)
    next(following)
    alone.server.kill()
    with pytest.raises(Unavailable, match="cannot be reached"):
        next(following)


def test_a_key_that_is_revoked_is_an_error(serving):
    server = serving(recheck_s=0.1)
    client = Client(server.url, server.api_key)
    run_id = begun(client)
    made = client.http.post("/keys", json={"role": "reader", "name": "short"}).json()
    with connect(server.url, made["secret"]) as store:
        following = store.follow(run_id)
        next(following)
        client.http.delete(f"/keys/{made['key']['key_id']}")
        with pytest.raises(Unauthenticated):
            next(following)
    client.http.close()


def test_a_closed_store_is_an_error(alone):
    following = alone.store.follow(begun(alone.client))
    next(following)
    alone.store.close()
    with pytest.raises(UsageError, match="the store is closed"):
        list(following)


def test_a_run_in_files_is_given_whole(store, client, tmp_path):
    run_id = begun(client, events=3)
    end(client, run_id, 4)
    export([store.run(run_id)], tmp_path / "runs")
    run = read(tmp_path / "runs").run(run_id)
    assert [frame["seq"].to_list() for frame in run.follow(after=1)] == [[2, 3, 4]]
    assert list(run.follow(after=4)) == []


TEXT = (
    b"retry: 300\nevent: heartbeat\ndata: {}\n\n"
    b'id: 1\nevent: run_started\ndata: {"a":1}\n\n'
    b"id: 2\nevent: step_started\ndata: {\ndata: }\n\n"
)


@given(st.lists(st.integers(0, len(TEXT))))
def test_blocks_are_the_same_however_the_bytes_are_cut(places):
    cuts = sorted({0, *places, len(TEXT)})
    blocks = Blocks()
    seen = [one for a, b in itertools.pairwise(cuts) for one in blocks.feed(TEXT[a:b])]
    assert seen == Blocks().feed(TEXT)
    assert [(one.id, one.name, one.data, one.retry) for one in seen] == [
        (b"", b"heartbeat", b"{}", b"300"),
        (b"1", b"run_started", b'{"a":1}', b""),
        (b"2", b"step_started", b"{\n}", b""),
    ]
