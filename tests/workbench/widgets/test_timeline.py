"""The timeline as Python sees it: traits, messages, selection, static form."""

import base64
import io
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import nbclient
import nbformat
import numpy as np
import polars as pl
import pytest
import runs
from PIL import Image
from polars.testing import assert_frame_equal

import workbench as wb
from workbench.errors import UsageError
from workbench.widgets import Timeline, timeline

HERE = Path(__file__).parent
GOLDEN = HERE / "desk.html"
HOSTILE = "<img src=x onerror=alert(1)>\"'&"


def ask(widget, **content):
    replies = []
    widget.send = lambda content, buffers=None: replies.append((content, buffers or []))
    widget._answer(widget, {"id": 7, **content}, [])
    (reply,) = replies
    return reply


def saved(widget):
    state = widget.get_state()
    return json.dumps(state, default=lambda raw: base64.b64encode(bytes(raw)).decode())


def still(widget):
    bundle = widget._repr_mimebundle_()
    return bundle[0] if isinstance(bundle, tuple) else bundle


def test_what_is_saved_of_a_long_run_does_not_grow_with_it():
    sizes = [len(saved(Timeline(runs.batch(n)))) for n in (10_000, 100_000)]
    assert max(sizes) < 250_000
    assert abs(sizes[1] - sizes[0]) < 4_000


def test_a_window_gives_the_steps_that_touch_it():
    steps = runs.batch(10_000)
    reply, (data,) = ask(
        Timeline(steps), ask="window", a=60_000, b=90_000, by="time", lanes="structure", bins=400
    )
    end = pl.col("start_ms") + pl.col("duration_ms")
    within = steps.filter((pl.col("start_ms") < 90_000) & (end >= 60_000))
    assert reply["steps"]["n"] == len(within)
    starts = np.frombuffer(data, np.float64, count=len(within))
    assert starts.tolist() == within["start_ms"].to_list()


def test_a_wide_window_gives_strips_instead():
    reply, (data,) = ask(
        Timeline(runs.batch(10_000)), ask="window", a=0, b=9e9, by="time", lanes="kind", bins=500
    )
    made = reply["overview"]
    assert made["bins"] == 500
    assert made["strips"] == [[code, code] for code in range(6)]
    assert len(data) == 500 * (4 + 1 + 6)


def test_the_last_step_of_a_long_run_can_be_reached():
    steps = runs.batch(100_000)
    widget = Timeline(steps)
    reply, (data,) = ask(widget, ask="go", to="last", by="time", lanes="structure", **{"from": -1})
    assert reply["steps"]["n"] == 1
    assert np.frombuffer(data, np.float64, count=1)[0] == steps["start_ms"][-1]


def test_a_question_that_makes_no_sense_is_answered_with_words():
    reply, buffers = ask(Timeline(runs.desk()), ask="window", a="far", b=1, by="time", lanes="kind")
    assert reply["id"] == 7
    assert reply["failure"].startswith("ValueError")
    assert buffers == []
    assert "KeyError" in ask(Timeline(runs.desk()), ask="nothing")[0]["failure"]


def test_the_selection_comes_back_as_a_frame():
    steps = runs.desk()
    widget = Timeline(steps)
    assert widget.selection.is_empty()
    widget.picked = [3, 1]
    assert widget.selected == steps["seq"].gather([3, 1]).to_list()
    assert_frame_equal(widget.selection, steps[[3, 1]])


def test_steps_can_be_selected_from_python():
    widget = Timeline(runs.desk())
    widget.selected = 6
    assert widget.picked == [2]
    with pytest.raises(UsageError, match=r"no such step.*\[7\]"):
        widget.selected = [6, 7]
    assert widget.selected == [6]


def test_the_window_comes_back_as_a_frame():
    steps = runs.desk()
    widget = Timeline(steps)
    assert_frame_equal(widget.window, steps)
    widget.view = [0.0, 1_000.0]
    assert widget.window["name"].to_list() == ["customer", "desk-small"]


def test_a_source_without_times_is_drawn_in_order_and_says_so():
    widget = timeline(runs.timeless())
    assert widget.by == "order"
    assert widget.facts["notes"][0]["head"] == "Drawn in order."
    told = {figure["label"]: figure["text"] for figure in widget.facts["figures"]}
    assert told == {"took": None, "steps": "40", "calls": "40", "tokens": None, "cost": None}


def test_unknown_costs_are_never_counted_as_nothing():
    steps = runs.desk().with_columns(
        pl.when(pl.col("seq") == 4).then(None).otherwise(pl.col("cost_usd")).alias("cost_usd")
    )
    facts = Timeline(steps).facts
    cost = next(figure for figure in facts["figures"] if figure["label"] == "cost")
    assert (cost["text"], cost["why"]) == (None, "1 of 8 model calls have no price")
    assert facts["costs"]["rows"][0]["amount"] == "$0.027 + unknown"


def test_without_any_price_the_blocks_are_tokens_then_calls():
    steps = runs.desk().with_columns(pl.lit(None, pl.Float64).alias("cost_usd"))
    assert Timeline(steps).facts["costs"]["unit"] == "tokens"
    assert Timeline(runs.timeless()).facts["costs"]["unit"] == "calls"


def test_wrong_options_are_refused():
    with pytest.raises(Exception, match="by"):
        timeline(runs.desk(), by="colour")
    with pytest.raises(TypeError):
        timeline(runs.desk(), wide=3)


def test_the_static_form_is_the_golden_one():
    info = {"name": "refund asked twice", "status": "done", "labels": '{"reward": 1}'}
    data = still(Timeline(runs.desk(), info=info))
    page = re.sub(r"base64,[^\"]+", "base64,…", data["text/html"]) + "\n"
    if not GOLDEN.exists():
        GOLDEN.write_text(page, encoding="utf-8")
    assert page == GOLDEN.read_text(encoding="utf-8")
    assert data["text/plain"] == (
        "Timeline('refund asked twice', steps=19, errors=3, calls=19, took=23.0 s, cost=$0.031)"
    )


def test_equal_runs_give_equal_bytes():
    first, second = (still(Timeline(runs.batch(3_000))) for _ in range(2))
    assert first["text/html"] == second["text/html"]
    assert first["text/plain"] == second["text/plain"]


def test_the_picture_is_a_png_of_the_run():
    data = still(Timeline(runs.batch(3_000)))["text/html"]
    raw = base64.b64decode(re.search(r"base64,([^\"]+)", data)[1])
    image = Image.open(io.BytesIO(raw)).convert("RGB")
    seen = {colour for _, colour in image.getcolors(1 << 20)}
    assert image.width == 1920
    assert len(raw) < 60_000
    assert (0x3F, 0x7F, 0xC4) in seen
    assert (0xE8, 0x4D, 0x0C) in seen


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = set()

    def handle_starttag(self, tag, attrs):
        self.found.add(tag)
        assert not any(name.startswith("on") for name, _ in attrs)


@pytest.mark.parametrize("column", ["name", "lane", "kind", "status"])
def test_texts_of_a_run_are_escaped_in_the_static_form(column):
    rows = [runs.step(1, 0, 5, **{column: HOSTILE})]
    widget = Timeline(
        runs.frame(rows), info={"name": HOSTILE, "labels": {HOSTILE[:9]: HOSTILE[:9]}}
    )
    page = still(widget)["text/html"]
    reader = Tags()
    reader.feed(page)
    allowed = {"div", "p", "b", "i", "br", "span", "img", "details", "summary", "table"}
    assert reader.found <= allowed | {"thead", "tbody", "tr", "th", "td"}
    assert "<img src=x" not in page


def test_a_long_run_lists_its_errors_first_and_says_what_it_left_out():
    page = still(Timeline(runs.batch(10_000)))["text/html"]
    assert "120 of 10,000 steps: errors first, then the longest" in page
    assert page.count("✕ error") == 20


def test_an_empty_run_says_so():
    widget = Timeline(runs.frame([]), info={"name": "x", "status": "running"})
    assert "No steps yet." in still(widget)["text/html"]
    assert repr(widget) == "Timeline('x', steps=0, calls=0, took=unknown, cost=unknown)"


def test_two_runs_stand_under_their_letters_with_their_calls_aligned():
    store = wb.open(HERE.parents[2] / "datasets")
    rows = store.runs().filter(pl.col("name").str.starts_with("regret")).sort("steps")
    a, b = (store.run(run_id) for run_id in (rows["run_id"][-1], rows["run_id"][-4]))
    widget = timeline([a, b])
    lanes = widget.facts["lanes"]
    headings = [lane["heading"]["letter"] for lane in lanes if lane["heading"]]
    links = widget.facts["links"]
    steps = widget.window
    assert headings == ["A", "B"]
    assert len(widget.facts["lanes"]) == sum(run.steps["lane"].n_unique() for run in (a, b))
    assert steps["run"].to_list() == ["A"] * len(a.steps) + ["B"] * len(b.steps)
    for left, right in links["aligned"]:
        assert (steps["run"][left], steps["run"][right]) == ("A", "B")
    aligned = wb.diff(a, b).aligned
    assert len(links["aligned"]) + len(links["only"]) == len(aligned)


def test_three_runs_are_refused():
    with pytest.raises(UsageError, match="one run or two"):
        timeline([1, 2, 3])


def test_a_notebook_with_timelines_passes_strict_nbval(tmp_path):
    first = f"import sys\nsys.path.append({str(HERE)!r})\nimport runs\nfrom workbench.widgets import timeline"
    cells = [first, "timeline(runs.desk())", "timeline(runs.batch(3_000), by='order')"]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell) for cell in cells], metadata={"kernelspec": kernel}
    )
    nbclient.NotebookClient(notebook).execute()
    nbformat.write(notebook, tmp_path / "timeline.ipynb")
    command = [sys.executable, "-m", "pytest", "--nbval", "timeline.ipynb", "-q"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "3 passed" in done.stdout, done.stdout


def test_the_code_to_paste_is_python():
    facts = Timeline(runs.desk(), info={"run_id": "it's"}).facts
    for code in facts["code"].values():
        compile(code.replace("{seq}", "4"), "cell", "exec")
