"""A run of several processes: each is a writer of its own, and none writes what another wrote."""

import os
import signal
import subprocess
import sys
import time
from multiprocessing import forkserver
from pathlib import Path

import child_agents as agents
import pytest

import workbench as wb
from workbench import errors
from workbench.capture import RecordingWarning
from workbench.spool import SpoolFolder
from workbench.store.leftovers import flush

IN_ORDER = [("ask", 1), ("pay", 2)]


@pytest.fixture(autouse=True)
def spool(server, monkeypatch, tmp_path):
    """A spool of its own, and the key by which other processes reach the server."""
    monkeypatch.setenv("WORKBENCH_API_KEY", server.api_key)
    monkeypatch.setenv("WORKBENCH_SPOOL", str(tmp_path / "spool"))
    yield SpoolFolder(tmp_path / "spool")
    # a server of forks lives on with the environment of this test
    forkserver._forkserver._stop()


def lanes(run):
    """Return lane → the names and ordinals of its calls."""
    found = {}
    for call in run.calls.sort("lane", "ordinal").iter_rows(named=True):
        found.setdefault(call["lane"], []).append((call["name"], call["ordinal"]))
    return found


def writers(store, run):
    return {one["writer"]: one for one in store.manifest(run)["writers"]}


def nothing_is_written_twice(run):
    numbers = {}
    for event in run.events.iter_rows(named=True):
        numbers.setdefault(event["writer"], []).append(event["writer_seq"])
    assert all(found == [*range(1, len(found) + 1)] for found in numbers.values())
    steps = run.events.filter(run.events["event_type"] == "call_started")["step_id"]
    assert steps.n_unique() == len(steps)
    return {writer: found[-1] for writer, found in numbers.items()}


@pytest.mark.parametrize("agent", agents.WAYS, ids=lambda agent: agent.__name__)
def test_a_child_records_in_a_lane_of_its_own(store, spool, agent):
    run = wb.record(store, agent, None)
    assert (run.status, store.row(run.run_id)["health"]) == ("done", "ok")
    assert lanes(run) == {
        "root": [("ask", 1), ("ask", 2)],
        "root/1": IN_ORDER,
        "root/2": IN_ORDER,
    }
    last = nothing_is_written_twice(run)
    assert len(last) == 3
    assert {writer: one["final"] for writer, one in writers(store, run).items()} == last
    assert not [*spool.path.iterdir()]


def test_a_child_begins_a_child(store):
    run = wb.record(store, agents.begun_in_a_line, None)
    assert lanes(run) == {"root/1": [("ask", 1)], "root/1/1": IN_ORDER}
    assert len(nothing_is_written_twice(run)) == 3


def test_a_block_that_forks_ends_once(store):
    with wb.record(store, name="block") as run:
        agent = wb.root(agents.forked_by_multiprocessing)
        agent(None)
    assert lanes(run)["root/2"] == IN_ORDER
    types = run.events["event_type"].to_list()
    assert [types.count("run_started"), types.count("run_ended")] == [1, 1]


PROGRAM = """
import os, sys
import child_agents as c, workbench as wb
from workbench.store import connect
@wb.root
def agent(_):
    c.ask("parent")
    child = os.fork()
    if child == 0:
        return c.twice("child")
    os.waitpid(child, 0)
    return c.ask("parent")
with connect(sys.argv[1], os.environ["WORKBENCH_API_KEY"]) as store:
    with wb.record(store, name="forks") as run:
        agent(None)
    print(run.run_id)
"""


def test_a_program_that_forks_and_goes_on_in_both_ends_in_both(store, server):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, server.url],
        env=os.environ | {"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.split()) == 2
    run = store.run(done.stdout.split()[0])
    assert lanes(run) == {"root": [("ask", 1), ("ask", 2)], "root/1": IN_ORDER}
    types = run.events["event_type"].to_list()
    assert [types.count("run_started"), types.count("run_ended")] == [1, 1]
    last = nothing_is_written_twice(run)
    assert {writer: one["final"] for writer, one in writers(store, run).items()} == last


# ---- children that do not end as they should


def test_a_killed_child_leaves_what_it_did_and_the_run_says_so(store, spool, tmp_path):
    with pytest.warns(RecordingWarning, match="process root/1"):
        run = wb.record(store, agents.kills_its_child, str(tmp_path / "ready"))
    flush(store.outlet(), spool)
    run = store.run(run.run_id)
    assert (run.status, store.row(run.run_id)["health"]) == ("done", "ok")
    assert lanes(run)["root/1"][0] == ("ask", 1)
    assert lanes(run)["root/1"][1] == ("pay", 2)  # which was on the disk before it began
    nothing_is_written_twice(run)
    with pytest.raises(errors.RecordingIncomplete, match="without saying how far it had got"):
        wb.replay(run, agents.kills_its_child)


def test_a_child_that_goes_on_is_said_to_and_loses_nothing_it_had_stored(store, tmp_path):
    given = [str(tmp_path / name) for name in ("ready", "go", "pid")]
    with pytest.warns(RecordingWarning, match="process root/1"):
        run = wb.record(store, agents.leaves_its_child, given)
    assert run.status == "done"
    gaps = [e for e in run.event_log() if e.event_type == "annotated"]
    assert b"it went on when the run had ended" in bytes(gaps[-1].payload)
    before = lanes(store.run(run.run_id)).get("root/1", [])
    Path(given[1]).touch()
    (child,) = agents.LEFT
    child.join(30)
    agents.LEFT.clear()
    assert child.exitcode == 0
    after = store.run(run.run_id)
    assert lanes(after).get("root/1", [])[: len(before)] == before
    assert store.row(run.run_id)["health"] == "ok"
    nothing_is_written_twice(after)


def test_a_context_that_nobody_joins_with_is_a_gap(store):
    def agent(_):
        return bool(wb.context())

    with pytest.warns(RecordingWarning, match="process root/1"):
        run = wb.record(store, agent, None)
    with pytest.raises(errors.RecordingIncomplete, match="no process joined"):
        wb.replay(run, agent)


def test_a_store_that_takes_one_writer_says_that_a_fork_is_not_recorded(folders):
    with pytest.warns(RecordingWarning, match="process root/1, process root/2"):
        run = wb.record(folders, agents.forked_by_multiprocessing, None)
    assert (run.status, lanes(run)) == ("done", {"root": [("ask", 1), ("ask", 2)]})


def test_what_a_child_could_not_deliver_is_announced_and_comes_later(store, spool, monkeypatch):
    monkeypatch.setenv("WORKBENCH_API_KEY", "a key that the server does not know")
    run = wb.record(store, agents.spawned, None)
    assert (run.status, store.row(run.run_id)["health"]) == ("done", "gap")
    assert list(spool.path.glob("*.ndjson"))
    flush(store.outlet(), spool)
    run = store.run(run.run_id)
    assert store.row(run.run_id)["health"] == "ok"
    assert lanes(run)["root/2"] == IN_ORDER


ORPHAN = """
import os, sys, time
import child_agents as c, workbench as wb
from workbench.store import connect
store = connect(sys.argv[1], os.environ["WORKBENCH_API_KEY"])
@wb.root
def agent(_):
    parent = os.getpid()
    if os.fork():
        c.ask("parent")
        time.sleep(600)
    c.twice("child")
    while os.getppid() == parent:
        time.sleep(0.01)
    c.ask("orphan")
with wb.record(store, name="orphan"):
    agent(None)
"""


def test_a_child_goes_on_when_its_parent_is_killed(store, server, spool):
    environment = os.environ | {"PYTHONPATH": ":".join(sys.path)}
    parent = subprocess.Popen([sys.executable, "-c", ORPHAN, server.url], env=environment)
    eventually(lambda: lanes_of(store, "orphan").get("root/1") == IN_ORDER)
    eventually(lambda: lanes_of(store, "orphan").get("root") == [("ask", 1)])
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    eventually(lambda: lanes_of(store, "orphan").get("root/1") == [*IN_ORDER, ("ask", 3)])
    (row,) = store.runs(name="orphan").iter_rows(named=True)
    assert row["status"] == "running"
    eventually(lambda: not flush(store.outlet(), spool).left and not spool.paths())


def lanes_of(store, name):
    found = store.runs(name=name)["run_id"]
    return lanes(store.run(found[0])) if len(found) else {}


def eventually(true):
    for _ in range(600):
        if true():
            return
        time.sleep(0.05)
    raise AssertionError("it never came true")


# ---- texts that are none


def test_outside_a_recording_there_is_nothing_to_join(monkeypatch):
    assert wb.context() == ""
    with wb.join(""):
        assert agents.ask("unrecorded")["what"] == "unrecorded"
    monkeypatch.setenv("WORKBENCH_CONTEXT", '{"run": ')
    with pytest.warns(RecordingWarning, match="cannot be read"), wb.join():
        assert agents.ask("unrecorded")["what"] == "unrecorded"


def test_no_key_is_in_a_context(store, server):
    def agent(_):
        return wb.context()

    with pytest.warns(RecordingWarning, match="process"):
        run = wb.record(store, agent, None)
    text = run.event_log()[-1].payload
    assert run.run_id.encode() in bytes(text)
    assert server.api_key.encode() not in bytes(text)


# ---- replays


@pytest.mark.parametrize("agent", agents.WAYS, ids=lambda agent: agent.__name__)
def test_a_run_of_several_processes_begins_none_in_a_cached_replay(store, agent):
    played = wb.replay(wb.record(store, agent, None), agent, mode="cached")
    assert not played.identical
    assert "process" in str(played.divergences) or "fork" in str(played.divergences)
