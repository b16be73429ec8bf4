"""Ctrl-C in a guarded replay: its run is cancelled, its agent ends, and nothing is guarded after."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
LIMIT_S = 120

PROGRAM = """
import os, signal

def hear(*_):
    os.write(1, b"heard\\n")
    raise KeyboardInterrupt

signal.signal(signal.SIGINT, hear)  # before polars has the system go on waiting after Ctrl-C

import asyncio, socket, sys, threading
from pathlib import Path
import notebook_agents as agents
import workbench as wb
from folder_runs import FolderRuns

folder, agent, beside_a_loop = Path(sys.argv[1]), getattr(agents, sys.argv[2]), sys.argv[3] == "loop"
gate, store = folder / "gate", FolderRuns(folder / "runs")
server = socket.create_server(("127.0.0.1", 0))
port = server.getsockname()[1]

def main():
    gate.touch()
    run = wb.record(store, agent, {"port": port, "gate": str(gate)})
    gate.unlink()
    try:
        wb.replay(run, agent, progress=lambda done, total: print(done, total, flush=True))
    except KeyboardInterrupt:
        names = [one.name for one in threading.enumerate()]
        left = [name for name in names if name.startswith(("agent-root", "asyncio"))]
        statuses = sorted(store.runs()["status"])
        print("interrupted", statuses, left, agents.connect(port), flush=True)

async def cell():
    main()

# as in a notebook, whose loop leaves Ctrl-C as it is
asyncio.new_event_loop().run_until_complete(cell()) if beside_a_loop else main()
"""


@pytest.fixture
def started(tmp_path):
    """Start the program with an agent, plainly or beside a running loop."""
    begun = []

    def start(*told):
        own = [str(TESTS), str(Path(__file__).parent)]
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(tmp_path), *told],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join([*own, *filter(None, sys.path)])},
        )
        limit = threading.Timer(LIMIT_S, process.kill)
        limit.start()
        begun.append((process, limit))
        return process

    yield start
    for process, limit in begun:
        limit.cancel()
        process.kill()
        process.communicate()


def said(process, wanted):
    """What a process says up to what is wanted."""
    lines = []
    for line in process.stdout:
        lines.append(line.rstrip("\n"))
        if lines[-1] == wanted:
            return
    pytest.fail(f"{lines}: {process.stderr.read()}")


def interrupt(process):
    process.send_signal(signal.SIGINT)
    said(process, "heard")


@pytest.mark.parametrize("agent", ["plain", "awaiting"])
@pytest.mark.parametrize("where", ["plainly", "loop"])
def test_ctrl_c_cancels_a_guarded_replay_and_leaves_nothing_guarded(started, agent, where):
    process = started(agent, where)
    said(process, "1 2")
    process.send_signal(signal.SIGINT)
    told, complained = process.communicate()
    assert told.splitlines()[-1:] == ["interrupted ['cancelled', 'done'] [] connected"], complained


def test_a_second_ctrl_c_breaks_off_what_a_coroutine_is_at(started):
    process = started("computing", "loop")
    said(process, "1 2")
    interrupt(process)
    said(process, "1 2")  # it computes on
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    told, complained = process.communicate()
    assert told.splitlines()[-1:] == ["interrupted ['cancelled', 'done'] [] connected"], complained
