"""A recorder whose server is away, slow, hangs or refuses: nothing is lost and nobody waits."""

from __future__ import annotations

import os
import secrets
import signal
import time
from itertools import count

import pytest
from machines import until
from proxies import slow
from recorders import agent, calls, faults, logs, recorded, told, whole
from running import make_workspace

import workbench as wb
from workbench.errors import RecordingFailed, Unavailable
from workbench.spool import SpoolFolder
from workbench.store import connect
from workbench.store.leftovers import flush

FOREVER = 10**9


@pytest.fixture
def server(stack):
    return stack.server()


@pytest.fixture
def workspace(stack):
    return make_workspace(stack.database, f"recorded-{secrets.token_hex(4)}")


@pytest.fixture
def spool(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_SPOOL", str(tmp_path / "spool"))
    return SpoolFolder(tmp_path / "spool")


@pytest.fixture
def store(server, workspace, spool):
    with connect(server.url, workspace.api_key, check=False) as opened:
        yield opened


def stored(stack, workspace, run, many):
    """Prove that the tables have so many calls of a run, and nothing wrong with it."""
    assert faults(stack.owner_url, workspace, run.run_id) == []
    rows = logs(stack.owner_url, workspace)[run.run_id]
    assert calls(rows) == whole(many)
    assert rows[-1]["event_type"] == "run_ended"


# ---- away


def test_a_server_that_is_down_at_the_start_gets_it_later(stack, server, workspace, store, spool):
    server.kill()
    work, made = agent(40)
    run, said = recorded(store, work)
    assert (run.status, len(made)) == ("done", 40)
    assert "83 events wait on this machine's disk" in said[0]
    assert "workbench spool flush" in said[0]
    with pytest.raises(Unavailable, match="cannot be reached"):
        run.events  # noqa: B018 - reading it is what fails
    server.start()
    flushed = flush(store.outlet(), spool)
    assert (flushed.runs, flushed.events, flushed.left) == (1, 83, {})
    stored(stack, workspace, run, 40)
    assert spool.paths() == []


def test_whoever_wants_it_is_stopped_while_the_server_is_down(server, store, spool):
    server.kill()
    work, made = agent(FOREVER, meanwhile=lambda _: time.sleep(0.01))
    with told() as said, pytest.raises(RecordingFailed, match="cannot go on") as stopped:
        wb.record(store, work, None, on_error="closed")
    assert "cannot be reached" in stopped.value.found
    assert "events wait on this machine's disk" in said[0]
    assert 0 < len(made) < FOREVER


def test_a_server_that_comes_back_gets_it_all(stack, server, workspace, store, spool):
    def meanwhile(number):
        if number == 30:
            server.kill()
        if number == 60:
            server.start()

    run, said = recorded(store, agent(90, meanwhile=meanwhile)[0])
    assert said == []
    stored(stack, workspace, run, 90)
    assert spool.paths() == []


def test_the_next_recording_delivers_what_was_left(stack, server, workspace, store, spool):
    server.kill()
    first, _ = recorded(store, agent(20)[0])
    server.start()
    with told() as said, wb.record(store, name="second") as second:
        wb.root(agent(20)[0])(None)
        until(lambda: len(logs(stack.owner_url, workspace)) == 2, "both runs are there")
        until(lambda: len(spool.paths()) < 2, "what was left is delivered", every_s=0.02)
    assert said == []
    stored(stack, workspace, first, 20)
    stored(stack, workspace, second, 20)
    assert spool.paths() == []


def test_another_workspace_s_is_left_alone(stack, server, workspace, store, spool):
    other = make_workspace(stack.database, f"other-{secrets.token_hex(4)}")
    assert store.workspace_id == str(workspace.workspace_id)  # it is known now
    server.kill()
    first, _ = recorded(store, agent(5)[0])
    server.start()
    with connect(server.url, other.api_key) as elsewhere:
        assert flush(elsewhere.outlet(), spool).elsewhere == 1
        assert logs(stack.owner_url, other) == {}
    assert flush(store.outlet(), spool).events == 13
    stored(stack, workspace, first, 5)


# ---- slow


def test_a_slow_network_holds_up_nobody(stack, server, workspace, spool):
    with slow(server.port, rate=20_000) as line:
        with connect(line.url, workspace.api_key, check=False) as store:
            run, said = recorded(store, agent(300, text="x" * 2000)[0])
            assert "events wait on this machine's disk" in said[0]
            line.rate = None
            until(
                lambda: (flush(store.outlet(), spool), spool.paths())[1] == [],
                "what was under way is answered, and the rest delivered",
            )
        assert line.passed > 0
    stored(stack, workspace, run, 300)


@pytest.fixture
def synced(monkeypatch):
    """Each time that something was brought to the disk itself."""
    calls_, sync = [], os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda handle: calls_.append(sync(handle)))
    return calls_


def test_a_server_that_hangs_holds_up_nobody(stack, server, store, spool, synced):
    process = server.process

    def meanwhile(number):
        if number == 20:
            process.send_signal(signal.SIGSTOP)
        if number == 40:
            before = len(synced)
            # what waits is brought to the disk itself meanwhile
            until(lambda: len(synced) > before, "it is synced")

    began = time.monotonic()
    try:
        run, said = recorded(store, agent(60, meanwhile=meanwhile)[0])
    finally:
        process.send_signal(signal.SIGCONT)
    assert "events wait on this machine's disk" in said[0]
    assert time.monotonic() - began < 25  # an answer is waited for 30 s: not by the agent
    until(lambda: (flush(store.outlet(), spool), spool.paths())[1] == [], "it is delivered")
    assert run.refresh().calls.height == 60


# ---- refused


def test_a_key_that_is_refused_costs_the_agent_nothing(stack, server, workspace, spool):
    with connect(server.url, "no such key", check=False) as store:
        work, made = agent(10)
        run, said = recorded(store, work)
    assert (run.status, len(made)) == ("done", 10)
    assert "23 events wait on this machine's disk" in said[0]
    assert "key" in said[0]
    with connect(server.url, workspace.api_key) as store:
        assert flush(store.outlet(), spool).events == 23
    stored(stack, workspace, run, 10)


def test_whoever_wants_it_is_stopped_by_a_key_that_is_refused(server, workspace, spool):
    with connect(server.url, "no such key", check=False) as store:
        work, made = agent(10)
        with told(), pytest.raises(RecordingFailed, match="key is missing, unknown or expired"):
            wb.record(store, work, None, on_error="closed")
    assert made == []


@pytest.mark.parametrize("on_error", ["open", "closed"])
def test_a_run_that_was_ended_on_the_server(stack, workspace, store, spool, on_error):
    numbers = count(1)

    @wb.root
    def work(run):
        recorded_call, _ = agent(10)
        recorded_call(None)
        until(lambda: run.run_id in logs(stack.owner_url, workspace), "it has begun")
        store.cancel(run.run_id)
        while next(numbers) < 3000 and not run.cancelled:
            agent(1)[0](None)
            time.sleep(0.005)
        agent(5)[0](None)

    with told() as said:
        if on_error == "closed":
            with pytest.raises(RecordingFailed), wb.record(store, on_error=on_error) as run:
                work(run)
        else:
            with wb.record(store, on_error=on_error) as run:
                work(run)
    assert "the run was ended by the server" in said[0]
    assert run.status == "cancelled"
    assert spool.paths() == []
