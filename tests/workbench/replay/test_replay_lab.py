"""A guarded replay in JupyterLab: bar, client and interrupts work, the agent is refused."""

import time
from pathlib import Path

import nbformat
import pytest

pytestmark = pytest.mark.ui
HERE = Path(__file__).parent

FIRST = """import socket, sys, threading
from pathlib import Path
sys.path += [{here!r}, {widgets!r}]
import notebook_agents as agents
import runs
import workbench as wb
from workbench import ours
from workbench.store import connect
from workbench.widgets import timeline

store, gate = connect({url!r}, {key!r}), Path({gate!r})
server = socket.create_server(("127.0.0.1", 0))
port = server.getsockname()[1]
gate.touch()
run = wb.record(store, agents.agent, {{"port": port, "gate": str(gate)}})
gate.unlink()
agents.WAITS.clear()
seen, heard = [], []

def watch():
    agents.WAITS.wait()
    with connect({url!r}, {key!r}) as other:  # it connects anew
        seen.append(other.runs().height)

ours.started(watch, name="watch")
view = timeline(runs.batch(100_000))  # asks the kernel
view.on_msg(lambda _, content, buffers: heard.append(content["ask"]))
view"""
REPLAY = "result = wb.replay(run, agents.agent)\n'replayed'"
AFTER = "agents.connect(port)"

INTERRUPTED = """try:
    wb.replay(run, agents.agent)
except KeyboardInterrupt:
    print("interrupted,", [one.name for one in threading.enumerate() if one.name == "agent-root"])"""


def notebook(lab, name, cells):
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    made = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell) for cell in cells], metadata={"kernelspec": kernel}
    )
    nbformat.write(made, lab.root / name)


@pytest.fixture
def opened(lab, lab_page, server, tmp_path):
    """Open a notebook of the first cell and others, run the first, and begin the others."""

    def begin(name, *cells):
        own = {"url": server.url, "key": server.api_key, "gate": str(tmp_path / "gate")}
        first = FIRST.format(here=str(HERE), widgets=str(HERE.parent / "widgets"), **own)
        notebook(lab, name, [first, *cells])
        lab.open(lab_page, name)
        lab.command(lab_page, "notebook:run-cell-and-select-next")
        foot = "() => document.querySelector('.wb-timeline .foot .muted')"
        lab_page.wait_for_function(foot)  # widgets are answered before the kernel is busy
        lab_page.evaluate("() => { jupyterapp.commands.execute('notebook:run-all-below'); }")
        output(lab, lab_page, 1, "of 2 calls")
        return lab_page

    return begin


def told(page, text):
    page.wait_for_function(
        "text => document.querySelector('.jp-NotebookPanel').textContent.includes(text)", arg=text
    )


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


def test_bar_and_client_go_on_while_the_agent_is_refused(lab, opened, tmp_path):
    page = opened("guarded.ipynb", REPLAY, AFTER)
    page.locator(".wb-timeline .plot").focus()
    page.keyboard.press("End")
    told(page, "1 of 2 calls")
    for theme in ("Light", "Dark"):
        lab.theme(page, f"JupyterLab {theme}")
        page.locator(".jp-OutputArea progress").scroll_into_view_if_needed()
        page.wait_for_timeout(800)
        page.screenshot(path=tmp_path / f"{theme}.png")
    lab.theme(page, "JupyterLab Light")
    (tmp_path / "gate").touch()
    output(lab, page, 1, "replayed")
    output(lab, page, 2, "connected")
    page.wait_for_selector(".wb-timeline .sel b")
    assert "of 2 calls" not in str(outputs(lab, page, 1))
    page.screenshot(path=tmp_path / "after.png")
    assert lab.evaluate(page, "print(seen, 'go' in heard)") == "[2] True"
    assert lab.evaluate(page, "print(run.output[-1])") == "connected"
    found = lab.evaluate(page, "print([(d.kind, d.actual['name']) for d in result.divergences])")
    assert found == "[('capture_gap', 'socket.getaddrinfo')]"
    assert lab.evaluate(page, "print(result.identical, result.run.status)") == "False diverged"
    assert page.problems == []


def test_an_interrupt_ends_the_replay_its_agent_and_its_guard(lab, opened):
    page = opened("interrupted.ipynb", INTERRUPTED)
    page.evaluate("() => jupyterapp.shell.currentWidget.sessionContext.session.kernel.interrupt()")
    assert "interrupted, []" in output(lab, page, 1, "interrupted,")
    assert "of 2 calls" not in str(outputs(lab, page, 1))
    assert lab.evaluate(page, "print(agents.connect(port))") == "connected"
    found = lab.evaluate(page, "print(store.runs(status='cancelled').height)")
    assert found == "1"
