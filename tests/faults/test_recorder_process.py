"""A recorder whose process is interrupted, ends too soon, or shares its spool with another."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time

import pytest
from machines import until
from recorders import calls, driven, faults, logs, whole
from running import make_workspace

from workbench.spool import SpoolFolder
from workbench.store import connect
from workbench.store.leftovers import flush


@pytest.fixture(scope="module")
def server(stack):
    return stack.server()


@pytest.fixture
def workspace(stack):
    return make_workspace(stack.database, f"recorded-{secrets.token_hex(4)}")


@pytest.fixture
def spool(tmp_path):
    return SpoolFolder(tmp_path / "spool")


def environment(workspace, spool):
    return os.environ | {
        "WORKBENCH_SPOOL": str(spool.path),
        "WORKBENCH_API_KEY": workspace.api_key,
    }


# ---- interrupted

_INTERRUPTED = r"""
import os, sys
import workbench as wb
from workbench.store import connect

side = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)

@wb.call(effect="write")
def change(number):
    os.write(side, b"%d\n" % number)
    return {"number": number, "text": "x" * 300}

@wb.root
def agent(_):
    number = times = 0
    while times < int(sys.argv[3]):
        try:
            while True:
                number += 1
                change(number)
        except KeyboardInterrupt:
            times += 1
            os.write(side, b"interrupted\n")

with connect(sys.argv[2], os.environ["WORKBENCH_API_KEY"]) as store:
    with wb.record(store, name="interrupted"):
        agent(None)
print("ended")
"""
_TIMES = 150


def test_an_agent_may_be_interrupted_anywhere(stack, server, workspace, spool, rng):
    """Ctrl-C comes between any two steps, those of the recorder too."""
    side = spool.path.with_name("side")
    side.touch()
    with subprocess.Popen(
        [sys.executable, "-c", _INTERRUPTED, side, server.url, str(_TIMES)],
        env=environment(workspace, spool), stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        try:
            until(lambda: side.stat().st_size, "it makes calls")
            for number in range(1, _TIMES + 1):
                time.sleep(rng.uniform(0.0, 0.02))
                process.send_signal(signal.SIGINT)
                until(lambda n=number: side.read_bytes().count(b"interrupted") == n, "it heard")
            assert process.stdout.read() == b"ended\n"
        finally:
            process.kill()
    made = [int(line) for line in side.read_bytes().splitlines() if line.isdigit()]
    with connect(server.url, workspace.api_key) as store:  # a slow server left some of it here
        assert flush(store.outlet(), spool).left == {}
    ((run_id, rows),) = logs(stack.owner_url, workspace).items()
    assert faults(stack.owner_url, workspace, run_id) == []
    assert rows[-1]["event_type"] == "run_ended"
    started = [row for row in rows if row["event_type"] == "call_started"]
    assert len(made) <= len(started) <= len(made) + _TIMES
    assert spool.paths() == []


def test_a_recording_that_is_interrupted_is_stored_as_cancelled(stack, server, workspace, spool):
    with driven(server.url, workspace.api_key, spool.path) as working:
        working.calls(20)
        assert working.interrupt() != 0
    ((run_id, rows),) = logs(stack.owner_url, workspace).items()
    assert faults(stack.owner_url, workspace, run_id) == []
    assert calls(rows) == whole(20)
    assert (rows[-1]["event_type"], rows[-1]["status"]) == ("run_ended", "cancelled")
    assert spool.paths() == []


# ---- ended too soon

_NOT_CLOSED = r"""
import os, sys
import workbench as wb
from workbench.store import connect

@wb.call(effect="read")
def look(number):
    return number

@wb.root
def agent(_):
    for number in range(100):
        look(number)

store = connect(sys.argv[1], os.environ["WORKBENCH_API_KEY"], check=False)
wb.record(store, name="not closed").__enter__()
agent(None)
"""


@pytest.mark.parametrize("reachable", [True, False])
def test_a_process_that_ends_too_soon_leaves_what_it_did(
    stack, server, workspace, spool, reachable
):
    address = server.url if reachable else "http://127.0.0.1:9"
    ended = subprocess.run(
        [sys.executable, "-c", _NOT_CLOSED, address],
        env=environment(workspace, spool), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "the process ended in the middle of a recording" in ended.stderr
    assert "Traceback" not in ended.stderr
    if not reachable:
        assert "202 events of it are on this machine's disk alone" in ended.stderr
        (path,) = spool.paths()
        assert path.read_bytes().count(b"call_ended") == 100
        return
    ((run_id, rows),) = logs(stack.owner_url, workspace).items()
    assert faults(stack.owner_url, workspace, run_id) == []
    assert calls(rows) == whole(100)
    assert spool.paths() == []


# ---- shared


def test_two_processes_share_a_spool_and_deliver_nothing_twice(stack, server, workspace, spool):
    server.kill()
    with (
        driven(server.url, workspace.api_key, spool.path) as one,
        driven(server.url, workspace.api_key, spool.path) as other,
    ):
        for _ in range(5):
            one.calls(40)
            other.calls(40)
        assert "403 events wait" in one.end()["warned"][0]
        other.process.kill()
        other.process.wait()
    server.start()
    flushes = [
        subprocess.Popen(
            [sys.executable, "-m", "workbench", "spool", "flush", "--json", "--store", server.url],
            env=environment(workspace, spool), stdout=subprocess.PIPE,
        )
        for _ in range(3)
    ]  # fmt: skip
    said = [json.loads(flush.communicate()[0]) for flush in flushes]
    assert [flush.returncode for flush in flushes] == [0, 0, 0]
    runs = logs(stack.owner_url, workspace)
    assert len(runs) == 2
    for run_id, rows in runs.items():
        assert faults(stack.owner_url, workspace, run_id) == []
        assert calls(rows) == whole(200)
    assert sum(one["events"] for one in said) == sum(len(rows) for rows in runs.values())
    assert spool.paths() == []
