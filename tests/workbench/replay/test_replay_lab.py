"""A guarded replay in JupyterLab: outputs, widgets, our client and interrupts work as ever."""

import time
from pathlib import Path

import nbformat
import pytest

pytestmark = pytest.mark.ui
HERE = Path(__file__).parent

FIRST = """import asyncio, socket, sys, threading
from pathlib import Path
import ipywidgets as widgets
sys.path += [{here!r}, {widgets!r}]
import notebook_agents as agents
import runs
import workbench as wb
from workbench.store import connect
from workbench.widgets import timeline

url, key, gate, agent = {url!r}, {key!r}, Path({gate!r}), agents.{agent}
store = connect(url, key)
server = socket.create_server(("127.0.0.1", 0))
port = server.getsockname()[1]
gate.touch()
run = wb.record(store, agent, {{"port": port, "gate": str(gate)}})
gate.unlink()
agents.WAITS.clear()

def asked():
    with connect(url, key) as other:  # it connects anew
        return other.runs().height

def move(change):
    moved.value = f"moved to {{change.new}}, {{asked()}} runs"

def watch():
    agents.WAITS.wait()
    seen.value = f"a thread saw {{asked()}} runs"

slider, moved, seen = widgets.IntSlider(), widgets.Label("not moved"), widgets.Label("not seen")
slider.observe(move, "value")
threading.Thread(target=watch, daemon=True).start()
view = timeline(runs.batch(100_000), height=120)  # asks the kernel
display(view, widgets.VBox([slider, moved, seen]))"""
REPLAY = "result = wb.replay(run, agent)\nresult"
AWAITED = "result = await asyncio.to_thread(wb.replay, run, agent)\nresult"
INTERRUPTED = """import signal

def hear(*_):
    print("heard")
    raise KeyboardInterrupt

signal.signal(signal.SIGINT, hear)
try:
    wb.replay(run, agent)
except KeyboardInterrupt:
    print("interrupted,", [one.name for one in threading.enumerate() if one.name == "agent-root"])"""


@pytest.fixture
def gate(tmp_path):
    return tmp_path / "gate"


@pytest.fixture
def begun(lab, lab_page, server, gate):
    """Open a notebook, run its first cell, and begin a replay, which waits for the gate."""

    def begin(agent, *cells):
        told = {"url": server.url, "key": server.api_key, "gate": str(gate), "agent": agent}
        first = FIRST.format(here=str(HERE), widgets=str(HERE.parent / "widgets"), **told)
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        made = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(cell) for cell in (first, *cells)],
            metadata={"kernelspec": kernel},
        )
        nbformat.write(made, lab.root / "replay.ipynb")
        lab.open(lab_page, "replay.ipynb")
        lab.command(lab_page, "notebook:run-cell-and-select-next")
        lab_page.wait_for_selector(".wb-timeline .foot .muted", timeout=60_000)
        lab_page.wait_for_selector(".noUi-handle", timeout=60_000)
        lab_page.evaluate("() => { jupyterapp.commands.execute('notebook:run-all-below'); }")
        output(lab, lab_page, 1, "1 of 2 calls")
        return lab_page

    return begin


def told(page, text):
    """Wait until a text stands in the notebook."""
    script = "text => document.querySelector('.jp-NotebookPanel').textContent.includes(text)"
    page.wait_for_function(script, arg=text, timeout=60_000)


def output(lab, page, cell, wanted):
    """What a cell gave, once the wanted is in it."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        first, found = (str(lab.cells(page)[one]["outputs"]) for one in (0, cell))
        assert "'error'" not in first
        if wanted in found:
            return found
        page.wait_for_timeout(100)
    pytest.fail(f"cell {cell} never said {wanted!r}: {found}")


def until(lab, page, code, wanted):
    """Ask the kernel until it says what is wanted: a widget tells it of a selection a little later."""
    deadline = time.monotonic() + 30
    while (found := lab.evaluate(page, code)) != wanted:
        assert time.monotonic() < deadline, found
        page.wait_for_timeout(100)


def move(page, times):
    page.locator(".noUi-handle").focus()
    for _ in range(times):
        page.keyboard.press("ArrowRight")


def ask_for_the_last_step(page):
    page.locator(".wb-timeline .plot").focus()
    page.keyboard.press("End")


def end(lab, page, gate):
    """Let the replay end, of which only the agent's own attempt to connect is told."""
    assert "identical" not in str(lab.cells(page)[1]["outputs"])
    gate.touch()
    shown = output(lab, page, 1, "<ReplayResult not identical: 2 of 2 recorded calls consumed")
    assert "of 2 calls" not in shown
    told = "print([(one.kind, one.actual['name']) for one in result.divergences], run.output[-1])"
    assert lab.evaluate(page, told) == "[('capture_gap', 'socket.getaddrinfo')] connected"
    assert lab.evaluate(page, "print(agents.connect(port))") == "connected"
    assert page.problems == []


@pytest.mark.parametrize("agent", ["plain", "awaiting"])
def test_what_happens_is_shown_meanwhile_and_widgets_are_answered_then(
    lab, begun, gate, tmp_path, agent
):
    page = begun(agent, REPLAY)
    told(page, "looked up 1")
    told(page, "a thread saw 2 runs")
    move(page, 3)
    ask_for_the_last_step(page)
    told(page, "Single steps come")  # the timeline shows what it has
    for theme in ("Light", "Dark"):
        lab.theme(page, f"JupyterLab {theme}")
        page.evaluate("() => document.querySelector('progress')?.scrollIntoView({ block: 'end' })")
        page.wait_for_timeout(800)
        page.screenshot(path=tmp_path / f"{theme}.png")
    lab.theme(page, "JupyterLab Light")
    end(lab, page, gate)
    told(page, "moved to 3, 2 runs")
    page.wait_for_selector(".wb-timeline .sel b")
    until(lab, page, "print(slider.value, view.selected)", "3 [200000]")
    page.screenshot(path=tmp_path / "after.png")


def test_beside_a_cell_that_awaits_a_replay_widgets_are_answered(lab, begun, gate):
    page = begun("awaiting", AWAITED)
    told(page, "a thread saw 2 runs")
    move(page, 1)  # ipywidgets sends no second one before the kernel says that it is idle
    told(page, "moved to 1, 2 runs")
    ask_for_the_last_step(page)
    page.wait_for_selector(".wb-timeline .sel b")
    end(lab, page, gate)


@pytest.mark.parametrize("agent", ["plain", "awaiting", "computing"])
def test_an_interrupt_ends_the_replay_its_agent_and_its_guard(lab, begun, agent):
    page = begun(agent, INTERRUPTED)
    lab.command(page, "notebook:interrupt-kernel")
    output(lab, page, 1, "heard")
    if agent == "computing":  # it never comes to where it could be cancelled
        lab.command(page, "notebook:interrupt-kernel")
    found = output(lab, page, 1, "interrupted,")
    assert "interrupted, []" in found
    assert "of 2 calls" not in found
    assert lab.evaluate(page, "print(agents.connect(port))") == "connected"
    assert lab.evaluate(page, "print(store.runs(status='cancelled').height)") == "1"
    assert page.problems == []
