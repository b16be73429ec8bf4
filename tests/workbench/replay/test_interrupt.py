"""Ctrl-C in a guarded replay: its run is cancelled, its agent ends, and nothing is guarded after."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]

PROGRAM = """
import asyncio, socket, sys, threading
from pathlib import Path
import notebook_agents as agents
import workbench as wb
from folder_runs import FolderRuns

folder, beside_a_loop = Path(sys.argv[1]), sys.argv[2] == "beside a loop"
gate, store = folder / "gate", FolderRuns(folder / "runs")
server = socket.create_server(("127.0.0.1", 0))
port = server.getsockname()[1]

def main():
    gate.touch()
    run = wb.record(store, agents.agent, {"port": port, "gate": str(gate)})
    gate.unlink()
    try:
        wb.replay(run, agents.agent, progress=lambda done, total: print(done, flush=True))
    except KeyboardInterrupt:
        left = [one for one in threading.enumerate() if one.name == "agent-root"]
        statuses = sorted(store.runs()["status"])
        print("interrupted", statuses, left, agents.connect(port), flush=True)

async def cell():
    main()

# as in a notebook, whose loop leaves Ctrl-C as it is
loop = asyncio.new_event_loop()
loop.run_until_complete(cell()) if beside_a_loop else main()
"""


@pytest.mark.parametrize("where", ["plainly"])  # beside a loop: see test_replay_lab
def test_ctrl_c_cancels_a_guarded_replay_and_leaves_nothing_guarded(tmp_path, where):
    own = [str(TESTS), str(Path(__file__).parent)]
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tmp_path), where],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([*own, *filter(None, sys.path)])},
    )
    try:
        assert process.stdout.readline() == "1\n"
        process.send_signal(signal.SIGINT)
        said, complained = process.communicate(timeout=60)
    finally:
        process.kill()
    last = said.splitlines()[-1:]
    assert last == ["interrupted ['cancelled', 'done'] [] connected"], complained
