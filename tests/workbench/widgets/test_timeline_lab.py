"""The timeline in JupyterLab: a long run, keys, shortcuts, selection, both themes."""

import time
from pathlib import Path

import nbformat
import pytest

pytestmark = pytest.mark.ui
HERE = Path(__file__).parent
FIRST = f"""import sys
sys.path.append({str(HERE)!r})
import runs
from workbench.widgets import timeline
steps = runs.batch(100_000)"""
CELLS = [FIRST, "view = timeline(steps)\nview", "shown = 'kept'"]


def notebook(lab, name, cells):
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    made = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell) for cell in cells], metadata={"kernelspec": kernel}
    )
    nbformat.write(made, lab.root / name)


@pytest.fixture
def opened(lab, lab_page):
    notebook(lab, "long.ipynb", CELLS)
    lab.open(lab_page, "long.ipynb")
    lab.run_all(lab_page)
    lab_page.wait_for_selector(".wb-timeline canvas", timeout=60_000)
    lab_page.wait_for_function("() => document.querySelector('.wb-timeline .foot .muted')")
    return lab_page


def selected(lab, page, wanted):
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        said = lab.evaluate(page, "print(view.selected)")
        if said == wanted:
            return said
        page.wait_for_timeout(100)
    return said


def test_a_long_run_is_shown_walked_and_given_back(lab, opened, tmp_path):
    page = opened
    plot = page.locator(".wb-timeline .plot")
    plot.focus()
    before = [cell["source"] for cell in lab.cells(page)]
    for key in ("x", "d", "d", "a", "b"):
        page.keyboard.press(key)
        assert [cell["source"] for cell in lab.cells(page)] == before
    page.keyboard.press("End")
    last = lab.evaluate(page, "print([steps['seq'][-1]])")
    assert selected(lab, page, last) == last
    page.keyboard.press("e")
    page.wait_for_function("() => document.querySelector('.wb-timeline .sel .bad')")
    for _ in range(10):
        page.keyboard.press("+")
        page.wait_for_timeout(30)
    page.wait_for_timeout(800)
    rows = int(lab.evaluate(page, "print(len(view.window))"))
    assert 0 < rows < 1_000
    assert lab.evaluate(page, "print(view.selection['status'].to_list())") == "['error']"
    page.screenshot(path=tmp_path / "light.png")
    lab.theme(page, "JupyterLab Dark")
    page.wait_for_timeout(800)
    page.screenshot(path=tmp_path / "dark.png")
    lab.theme(page, "JupyterLab Light")
    assert page.problems == []


def test_a_question_is_answered_while_a_cell_runs(lab, opened):
    page = opened
    page.evaluate("""() => {
      const kernel = jupyterapp.shell.currentWidget.sessionContext.session.kernel;
      kernel.requestExecute({ code: "import time; time.sleep(4)", store_history: false });
    }""")
    page.wait_for_timeout(300)
    page.locator(".wb-timeline .plot").focus()
    page.keyboard.press("End")
    begun = time.monotonic()
    page.wait_for_selector(".wb-timeline .sel b", timeout=20_000)
    took = time.monotonic() - begun
    print(f"answered after {took:.2f} s while a cell ran")
    assert took < 15


def test_an_untrusted_notebook_shows_the_picture_and_the_table(lab, opened):
    page = opened
    bundle = lab.cells(page)[1]["outputs"][0]["data"]
    assert {"text/html", "text/plain", "application/vnd.jupyter.widget-view+json"} <= set(bundle)
    assert "data:image/png;base64," in "".join(bundle["text/html"])
    assert "<script" not in "".join(bundle["text/html"])
