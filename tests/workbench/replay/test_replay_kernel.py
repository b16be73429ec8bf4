"""A notebook's kernel during a guarded replay: it answers what it answers while any cell runs."""

import os
import queue
import sys
import time
from pathlib import Path

import pytest
import zmq
from jupyter_client.manager import start_new_kernel

HERE = Path(__file__).parent
LIMIT_S = 60

FIRST = """import asyncio, socket, threading
from pathlib import Path
import ipywidgets as widgets
import notebook_agents as agents
import workbench as wb
from folder_runs import FolderRuns

gate, store = Path({gate!r}), FolderRuns(Path({runs!r}))
server = socket.create_server(("127.0.0.1", 0))
port = server.getsockname()[1]
agent = agents.{agent}
gate.touch()
run = wb.record(store, agent, {{"port": port, "gate": str(gate)}})
gate.unlink()
slider, told = widgets.IntSlider(), widgets.IntText()
heard = []
slider.observe(lambda change: (heard.append(change.new), setattr(told, "value", change.new)), "value")
print(slider.model_id, told.model_id)"""
REPLAY = "result = wb.replay(run, agent)"
AWAITED = "result = await asyncio.to_thread(wb.replay, run, agent)"
INTERRUPTED = """try:
    wb.replay(run, agent)
except KeyboardInterrupt:
    names = [one.name for one in threading.enumerate()]
    print("interrupted", [name for name in names if name.startswith("agent-root")])"""


class Kernel:
    """A kernel and what it says, in the order in which it says it."""

    def __init__(self, manager, client):
        self.manager, self.client = manager, client
        self.said = []

    def begin(self, code):
        return self.client.execute(code, store_history=False)

    def run(self, code):
        """Run a cell to its end and return what it printed."""
        asked = self.begin(code)
        self.until(lambda: self.is_over(asked))
        return self.printed(asked).strip()

    def printed(self, asked):
        """Return what a cell has printed so far."""
        return "".join(
            one["content"]["text"]
            for one in self.said
            if one["parent_header"].get("msg_id") == asked and one["msg_type"] == "stream"
        )

    def is_over(self, asked):
        return any(
            one["msg_type"] == "status"
            and one["content"]["execution_state"] == "idle"
            and one["parent_header"].get("msg_id") == asked
            for one in self.said
        )

    def until(self, holds):
        """Read what the kernel says until something holds."""
        deadline = time.monotonic() + LIMIT_S
        while not holds():
            assert time.monotonic() < deadline, self.said[-5:]
            try:
                self.said.append(self.client.get_iopub_msg(timeout=0.2))
            except queue.Empty:
                continue

    def beats(self):
        """Say whether the heartbeat answers."""
        with zmq.Context() as context, context.socket(zmq.REQ) as heart:
            heart.linger = 0
            heart.connect(f"tcp://127.0.0.1:{self.client.hb_port}")
            heart.send(b"are you there")
            return heart.poll(LIMIT_S * 1000) and heart.recv() == b"are you there"

    def control(self, asked):
        """Return the answer to a message of the control channel."""
        message = self.client.session.msg(asked)
        self.client.control_channel.send(message)
        while True:
            answer = self.client.get_control_msg(timeout=LIMIT_S)
            if answer["parent_header"]["msg_id"] == message["header"]["msg_id"]:
                return answer["content"]

    def beside(self, code, subshell):
        """Begin code in a subshell; return what tells its messages."""
        asked = {"code": code, "silent": False, "store_history": False, "user_expressions": {}}
        message = self.client.session.msg("execute_request", asked)
        message["header"]["subshell_id"] = subshell
        self.client.shell_channel.send(message)
        return message["header"]["msg_id"]

    def move(self, model, value):
        """Set a widget's value as a browser does."""
        data = {"method": "update", "state": {"value": value}, "buffer_paths": []}
        message = self.client.session.msg("comm_msg", {"comm_id": model, "data": data})
        self.client.shell_channel.send(message)

    def values(self, model):
        """Return the values of a widget that the kernel told of, in order."""
        return [
            one["content"]["data"]["state"]["value"]
            for one in self.said
            if one["msg_type"] == "comm_msg"
            and one["content"]["comm_id"] == model
            and "value" in one["content"]["data"].get("state", {})
        ]

    def shown(self):
        """Return what stood in the outputs, in order."""
        return [
            one["content"]["data"]["text/plain"]
            for one in self.said
            if one["msg_type"] in ("display_data", "update_display_data")
        ]


@pytest.fixture
def kernel(tmp_path):
    own = [str(HERE.parent), str(HERE), *filter(None, sys.path)]
    manager, client = start_new_kernel(
        env=os.environ | {"PYTHONPATH": os.pathsep.join(own)}, cwd=str(tmp_path)
    )
    yield Kernel(manager, client)
    client.stop_channels()
    manager.shutdown_kernel(now=True)


@pytest.fixture
def gate(tmp_path):
    return tmp_path / "gate"


@pytest.fixture
def prepared(kernel, gate, tmp_path):
    def prepare(agent):
        """Record a run, and return the ids of the slider and of the field that tells of it."""
        told = kernel.run(FIRST.format(gate=str(gate), runs=str(tmp_path / "runs"), agent=agent))
        return told.splitlines()[-1].split()

    return prepare


def replaying(kernel, code=REPLAY):
    """Begin a replay, and wait until what its agent printed, and its bar, are told."""
    asked = kernel.begin(code)
    kernel.until(lambda: any("1 of 2 calls" in text for text in kernel.shown()))
    kernel.until(lambda: kernel.printed(asked) == "looked up 1\n")
    assert not kernel.is_over(asked)
    return asked


def end(kernel, gate, asked):
    """Let a replay end, of which only the agent's own attempt to connect is told."""
    assert not kernel.is_over(asked)
    gate.touch()
    kernel.until(lambda: kernel.is_over(asked))
    assert kernel.shown()[-1] == ""  # the bar is gone
    found = kernel.run("print([(one.kind, one.actual['name']) for one in result.divergences])")
    assert found == "[('capture_gap', 'socket.getaddrinfo')]"
    assert kernel.run("print(agents.connect(port))") == "connected"


@pytest.mark.parametrize("agent", ["plain", "awaiting"])
def test_what_a_kernel_answers_during_a_cell_it_answers_during_a_replay(
    kernel, prepared, gate, agent
):
    slider, told = prepared(agent)
    asked = replaying(kernel)
    assert kernel.beats()
    assert kernel.control("kernel_info_request")["status"] == "ok"
    subshell = kernel.control("create_subshell_request")["subshell_id"]
    beside = kernel.beside("print(6 * 7)", subshell)
    kernel.until(lambda: kernel.printed(beside) == "42\n")
    for value in range(1, 6):
        kernel.move(slider, value)
    end(kernel, gate, asked)
    kernel.until(lambda: kernel.values(told) == [1, 2, 3, 4, 5])
    assert kernel.run("print(heard)") == "[1, 2, 3, 4, 5]"


@pytest.mark.parametrize("agent", ["plain", "awaiting"])
def test_beside_a_cell_that_awaits_a_replay_widgets_are_answered(kernel, prepared, gate, agent):
    slider, told = prepared(agent)
    asked = replaying(kernel, AWAITED)
    for value in (1, 2, 3):
        kernel.move(slider, value)
    kernel.until(lambda: kernel.values(told) == [1, 2, 3])
    end(kernel, gate, asked)
    assert kernel.run("print(heard)") == "[1, 2, 3]"


@pytest.mark.parametrize("agent", ["plain", "awaiting"])
def test_an_interrupt_ends_the_replay_its_agent_and_its_guard(kernel, prepared, agent):
    prepared(agent)
    asked = replaying(kernel, INTERRUPTED)
    kernel.manager.interrupt_kernel()
    kernel.until(lambda: kernel.is_over(asked))
    assert kernel.printed(asked).endswith("interrupted []\n")
    assert kernel.shown()[-1] == ""
    assert kernel.run("print(sorted(store.runs()['status']))") == "['cancelled', 'done']"
    assert kernel.run("print(agents.connect(port))") == "connected"
