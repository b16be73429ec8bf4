"""A guarded replay in JupyterLab: widgets, our client and the kernel go on, the agent is refused."""

import time
from pathlib import Path

import nbformat
import pytest

pytestmark = pytest.mark.ui
HERE = Path(__file__).parent

FIRST = """import socket, sys, threading, time
sys.path.append({here!r})
import ipywidgets
import notebook_agents as agents
import workbench as wb
from workbench import ours
from workbench.store import connect

store = connect({url!r}, {key!r})
server = socket.create_server(("127.0.0.1", 0))
port = server.getsockname()[1]
agents.GATE.set()
run = wb.record(store, agents.agent, port)
agents.GATE.clear()
agents.WAITS.clear()
said, seen = ipywidgets.Label("silent"), []
slider = ipywidgets.IntSlider(0, 0, 100)

def hear(change):
    said.value = f"heard {{change['new']}}"
    if change["new"] >= 50:
        agents.GATE.set()

slider.observe(hear, "value")

def watch():
    agents.WAITS.wait()
    with connect({url!r}, {key!r}) as other:  # a connection of its own, while it is guarded
        seen.append(other.runs().height)

ours.started(watch, name="watch")
display(slider, said)
run.timeline()"""
REPLAY = "result = wb.replay(run, agents.agent)\n'replayed'"
AFTER = "agents.connect(port)"

INTERRUPTED = """try:
    wb.replay(run, agents.agent)
finally:
    ended = [one.name for one in threading.enumerate() if one.name == "agent-root"]"""


def notebook(lab, name, cells):
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    made = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell) for cell in cells], metadata={"kernelspec": kernel}
    )
    nbformat.write(made, lab.root / name)


@pytest.fixture
def opened(lab, lab_page, server):
    """Open a notebook of the first cell and others, run the first, and begin the others."""

    def begin(name, *cells):
        first = FIRST.format(here=str(HERE), url=server.url, key=server.api_key)
        notebook(lab, name, [first, *cells])
        lab.open(lab_page, name)
        lab.run_all(lab_page)
        output(lab, lab_page, 1, "of 2 calls")
        return lab_page

    return begin


def told(page, text):
    page.wait_for_function(
        "text => document.querySelector('.jp-NotebookPanel').textContent.includes(text)", arg=text
    )


def slide(page, presses, key="ArrowRight"):
    handle = page.locator(".noUi-handle").first
    handle.focus()
    for _ in range(presses):
        page.keyboard.press(key)


def outputs(lab, page, cell):
    return lab.cells(page)[cell]["outputs"]


def output(lab, page, cell, wanted):
    """What a cell gave, once the wanted is in it."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = str(outputs(lab, page, cell))
        assert "'error'" not in str(outputs(lab, page, 0))
        if wanted in found:
            return found
        page.wait_for_timeout(100)
    pytest.fail(f"cell {cell} never said {wanted!r}: {found}")


def test_widgets_and_client_go_on_while_the_agent_is_refused(lab, opened, tmp_path):
    page = opened("guarded.ipynb", REPLAY, AFTER)
    page.screenshot(path=tmp_path / "light.png")
    lab.theme(page, "JupyterLab Dark")
    page.screenshot(path=tmp_path / "dark.png")
    lab.theme(page, "JupyterLab Light")
    slide(page, 3)
    told(page, "heard 3")
    page.locator(".wb-timeline .plot").focus()
    page.keyboard.press("End")
    page.wait_for_selector(".wb-timeline .sel b", timeout=20_000)
    told(page, "1 of 2 calls")
    slide(page, 1, "End")
    output(lab, page, 1, "replayed")
    output(lab, page, 2, "connected")
    assert "of 2 calls" not in str(outputs(lab, page, 1))
    page.screenshot(path=tmp_path / "after.png")
    assert lab.evaluate(page, "print(seen)") == "[2]"
    assert lab.evaluate(page, "print(run.output[-1])") == "connected"
    found = lab.evaluate(page, "print([(d.kind, d.actual['name']) for d in result.divergences])")
    assert found == "[('capture_gap', 'socket.connect')]"
    assert lab.evaluate(page, "print(result.identical, result.run.status)") == "False diverged"
    assert page.problems == []


def test_an_interrupt_ends_the_replay_its_agent_and_its_guard(lab, opened):
    page = opened("interrupted.ipynb", INTERRUPTED)
    page.evaluate("() => jupyterapp.shell.currentWidget.sessionContext.session.kernel.interrupt()")
    output(lab, page, 1, "KeyboardInterrupt")
    assert "of 2 calls" not in str(outputs(lab, page, 1))
    assert lab.evaluate(page, "print(ended)") == "[]"
    assert lab.evaluate(page, "print(agents.connect(port))") == "connected"
    found = lab.evaluate(page, "print(store.runs(status='cancelled').height)")
    assert found == "1"
