"""The timeline in a browser, on a bare page, with its own Python as kernel."""

import time

import pytest
import runs
from host import show

from workbench.widgets import Timeline

pytestmark = pytest.mark.ui
INFO = {"name": "refund asked twice", "status": "done", "run_id": "11111111-2222"}
WIDTHS = (390, 550, 965, 1204)


def words(page):
    """What the footer says once the next frame is drawn."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done, 20)))")
    return " ".join(page.inner_text(".wb .sel").split())


def until(page, condition):
    page.wait_for_function(condition)


def arrived(page, is_so):
    """Wait for something that the page sends to be there in Python."""
    deadline = time.monotonic() + 30
    while not is_so() and time.monotonic() < deadline:
        page.wait_for_timeout(20)
    return is_so()


def settled(widget, seqs):
    """Wait for a selection to arrive in Python."""
    return lambda page: arrived(page, lambda: widget.selected == seqs)


@pytest.fixture
def desk(page, tmp_path):
    widget = Timeline(runs.desk(), info=INFO)
    show(page, widget, tmp_path)
    page.focus(".wb .plot")
    return widget


def test_the_keys_move_through_the_steps(page, desk):
    page.keyboard.press("ArrowRight")
    assert words(page).startswith("#2 customer")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowRight")
    assert words(page).startswith("#8 desk-small")
    page.keyboard.press("e")
    assert "failed" in words(page)
    page.keyboard.press("End")
    assert words(page).startswith("#38 desk-small")
    page.keyboard.press("Home")
    page.keyboard.press("ArrowDown")
    assert words(page).startswith("#4 desk-small")


def test_the_selection_reaches_python_and_back(page, desk):
    page.keyboard.press("ArrowRight")
    assert settled(desk, [2])(page)
    assert desk.selection["name"].to_list() == ["customer"]
    page.evaluate("() => window.model.set('picked', [4])")
    assert words(page).startswith("#10 find_order")
    page.keyboard.press("Escape")
    assert settled(desk, [])(page)


def test_a_click_selects_and_ctrl_adds(page, desk):
    box = page.locator(".wb .space canvas").bounding_box()
    scale = box["width"] / desk.facts["total"]
    page.mouse.click(box["x"] + 450 * scale, box["y"] + 8)
    assert words(page).startswith("#2 customer")
    page.keyboard.down("Control")
    page.mouse.click(box["x"] + 1_500 * scale, box["y"] + 47)
    page.keyboard.up("Control")
    assert "2 selected" in words(page)
    assert settled(desk, [2, 4])(page)


def test_the_card_comes_when_the_pointer_rests(page, desk):
    box = page.locator(".wb .space canvas").bounding_box()
    scale = box["width"] / desk.facts["total"]
    page.mouse.move(box["x"] + 1_500 * scale, box["y"] + 47)
    page.wait_for_selector(".wb .card")
    told = page.inner_text(".wb .card")
    assert "1.50 s" in told
    assert "1,540 in" in told
    inside = page.evaluate("""() => {
      const card = document.querySelector(".card").getBoundingClientRect();
      const plot = document.querySelector(".plot").getBoundingClientRect();
      return card.left >= plot.left && card.right <= plot.right + 1;
    }""")
    assert inside
    page.keyboard.press("Escape")
    assert page.locator(".wb .card").count() == 0


def test_fork_and_inspect_show_code_and_run_nothing(page, desk):
    page.keyboard.press("f")
    assert "Select a call first" in words(page)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("f")
    code = page.inner_text(".wb .panel pre")
    assert "run = wb.open().run('11111111-2222')" in code
    assert "wb.fork(run, at=2, edits=" in code
    page.keyboard.press("Escape")
    assert page.locator(".wb .panel").is_hidden()
    page.keyboard.press("Enter")
    assert "run.calls.filter(seq=2)" in page.inner_text(".wb .panel pre")
    assert all(sent["ask"] == "step" for sent in page.evaluate("() => window.sent"))


def test_zoom_and_fit(page, desk):
    page.keyboard.press("ArrowRight")
    page.keyboard.press("+")
    page.keyboard.press("+")
    view = page.evaluate("() => window.view_.view")
    assert view[1] - view[0] == pytest.approx(desk.facts["total"] / 4)
    page.keyboard.press("0")
    assert page.evaluate("() => window.view_.view") == [0, desk.facts["total"]]


def test_finding_a_step_by_name(page, desk):
    page.keyboard.press("/")
    page.keyboard.type("refund")
    page.keyboard.press("Enter")
    assert "issue_refund" in words(page)
    page.keyboard.press("Escape")
    assert page.locator(".wb .panel").is_hidden()


def test_keys_are_listed_and_kinds_can_be_hidden(page, desk):
    page.keyboard.press("?")
    assert "next, previous error" in page.inner_text(".wb .panel")
    page.keyboard.press("Escape")
    page.click(".wb .legend button:has-text('tool')")
    until(page, "() => window.view_.shown?.every((bar) => bar.kind !== 2)")
    assert page.get_attribute(".wb .legend button:has-text('tool')", "aria-pressed") == "false"


@pytest.mark.parametrize("by", ["order", "cost"])
def test_other_arrangements_tell_python(page, desk, by):
    page.click(f".wb .seg button:has-text('{by.capitalize()}')")
    until(page, f"() => window.view_.by === '{by}'")
    page.wait_for_timeout(50)
    assert desk.by == by


def test_by_cost_the_rows_can_be_walked(page, tmp_path):
    show(page, Timeline(runs.desk(), info=INFO, by="cost"), tmp_path)
    page.focus(".wb .costs")
    page.keyboard.press("ArrowDown")
    assert words(page).startswith("8 model calls")
    page.keyboard.press("Enter")
    assert "run.calls.filter(pl.col('seq').is_in([" in page.inner_text(".wb .panel pre")


def test_without_a_clock_time_is_disabled_and_the_note_says_why(page, tmp_path):
    show(page, Timeline(runs.timeless(), info={"status": "failed", "health": "gap"}), tmp_path)
    assert page.locator(".wb .seg button:has-text('Time')").is_disabled()
    notes = page.inner_text(".wb")
    assert "Drawn in order." in notes
    assert "has not delivered" in notes


def test_an_empty_run_says_so(page, tmp_path):
    show(page, Timeline(runs.frame([]), info={"status": "running"}), tmp_path)
    assert "No steps yet." in page.inner_text(".wb")


def test_a_long_run_is_fetched_when_looked_at_closely(page, tmp_path):
    widget = Timeline(runs.batch(20_000), info=INFO)
    show(page, widget, tmp_path)
    assert page.evaluate("() => window.sent.length") == 0
    page.focus(".wb .plot")
    page.keyboard.press("End")
    until(page, "() => window.view_.selected.length === 1")
    last = int(widget._track.frame["seq"][-1])
    assert words(page).startswith(f"#{last:,}")
    for _ in range(9):
        page.keyboard.press("+")
        page.wait_for_timeout(30)
    until(page, "() => window.view_.detail?.cols && window.view_.shown?.length > 0")
    assert settled(widget, [last])(page)
    # on a slow machine the steps of an earlier view come first
    assert arrived(page, lambda: 0 < len(widget.window) < 400)


def test_without_a_kernel_a_long_run_stays_an_overview(page, tmp_path):
    show(page, Timeline(runs.batch(5_000), info=INFO), tmp_path, kernel=False)
    page.focus(".wb .plot")
    for _ in range(6):
        page.keyboard.press("+")
    page.wait_for_selector(".wb .note", timeout=15_000)
    assert "Overview only. 5,000 steps in 1,024 bins." in page.inner_text(".wb .note")


def test_a_long_run_is_drawn_anew_at_every_zoom(page, tmp_path):
    show(page, Timeline(runs.batch(100_000), info=INFO), tmp_path)
    page.focus(".wb .plot")
    for key in "+++++++--------":
        page.evaluate("() => { window.view_.took = null; }")
        page.keyboard.press(key)
        until(page, "() => window.view_.took !== null")
    assert "100,000" in page.inner_text(".wb")


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("by", ["time", "cost"])
def test_nothing_overflows(page, tmp_path, width, by):
    page.set_viewport_size({"width": width, "height": 800})
    show(page, Timeline(runs.desk(), info=INFO, by=by), tmp_path)
    wide = page.evaluate("() => document.documentElement.scrollWidth")
    assert wide <= width


def test_texts_of_a_run_are_text(page, tmp_path):
    hostile = "<img src=x onerror=\"document.title='owned'\">"
    rows = [runs.step(1, 0, 500, name=hostile, lane=hostile), runs.step(2, 600, 500, name="a")]
    widget = Timeline(runs.frame(rows), info={"name": hostile, "status": "done"})
    show(page, widget, tmp_path)
    page.focus(".wb .plot")
    page.keyboard.press("ArrowRight")
    assert hostile in words(page)
    assert page.locator("img").count() == 0
    assert page.title() == ""


def test_it_can_be_used_without_seeing_it(page, desk):
    plot = page.locator(".wb .plot")
    assert plot.get_attribute("role") == "application"
    assert "19 steps in 7 lanes, 3 errors" in plot.get_attribute("aria-label")
    assert page.get_attribute(".wb .sel", "aria-live") == "polite"
    assert page.locator("[tabindex='0']:not([data-lm-suppress-shortcuts])").count() == 0
    assert page.locator(".wb[data-lm-suppress-shortcuts='true']").count() == 1


def test_high_contrast_keeps_shapes_and_words(page, tmp_path):
    page.emulate_media(forced_colors="active")
    show(page, Timeline(runs.desk(), info=INFO), tmp_path)
    assert page.evaluate("() => window.view_.brush.colour('ink')") == "CanvasText"


def test_closing_leaves_nothing_behind(page, desk):
    page.evaluate("() => window.close_()")
    page.evaluate("() => window.model.set('picked', [3])")
    assert page.evaluate("() => window.view_.selected.length") == 0
