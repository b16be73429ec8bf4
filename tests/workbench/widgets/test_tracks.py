"""Steps as arrays: lanes, rows, times, and the overview's laws."""

import numpy as np
import polars as pl
import runs
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.widgets.kinds import COLOURS, KINDS, STRUCTURE
from workbench.widgets.lanes import MOST, arrange
from workbench.widgets.overview import BUDGET, affordable, overview
from workbench.widgets.rows import MOST as MOST_ROWS
from workbench.widgets.rows import place, rows_needed
from workbench.widgets.tracks import tracks

STEPS = st.lists(
    st.tuples(
        st.floats(0, 5_000, allow_subnormal=False),
        st.one_of(st.none(), st.floats(0, 900, allow_subnormal=False)),
        st.sampled_from(["model", "tool", "human", None]),
        st.sampled_from(["agent", "agent/tools[0]", "agent/tools[1]", None]),
        st.sampled_from(["ok", "error", "running", "cancelled"]),
    ),
    min_size=1,
    max_size=60,
)


def made(rows):
    return tracks(
        runs.frame(
            runs.step(seq + 1, start, took, kind=kind, lane=lane, status=status)
            for seq, (start, took, kind, lane, status) in enumerate(rows)
        )
    )


@settings(deadline=None)
@given(STEPS, st.integers(1, 50), st.sampled_from(["time", "order"]), st.booleans())
def test_an_overview_loses_no_step_and_no_error(rows, bins, by, kinds):
    track = made(rows)
    lanes = "kind" if kinds else "structure"
    whole = overview(track, by=by, lanes=lanes, a=0, b=track.span(by), bins=bins)
    assert int(whole.began.sum()) == len(rows)
    assert int(whole.errors.sum()) == sum(status == "error" for *_, status in rows)
    begin, _ = track.places(by)
    for index, start in enumerate(begin):
        lane = track.kind[index] if kinds else track.lane[index]
        strip = whole.strips.index((lane, track.kind[index]))
        cell = min(bins - 1, int(start * bins / track.span(by)))
        assert whole.cover[strip, cell] > 0


@settings(deadline=None)
@given(STEPS, st.floats(0, 1), st.floats(0.01, 1))
def test_a_stretch_of_an_overview_counts_what_lies_in_it(rows, left, wide):
    track = made(rows)
    a = left * track.span("time") * 0.9
    b = a + wide * track.span("time")
    part = overview(track, by="time", lanes="structure", a=a, b=b, bins=16)
    inside = track.inside("time", a, b)
    assert int(part.errors.sum()) == int(track.failed[inside].sum())
    assert int(part.began.sum()) == int((track.start[inside] >= a).sum())


@settings(deadline=None)
@given(STEPS)
def test_bars_of_one_row_never_overlap_while_rows_are_left(rows):
    track = made(rows)
    found = place(track.start, track.end, track.lane)
    for lane in np.unique(track.lane):
        if found[track.lane == lane].max() == MOST_ROWS - 1:
            continue
        for row in np.unique(found[track.lane == lane]):
            mine = np.flatnonzero((track.lane == lane) & (found == row))
            mine = mine[np.lexsort((-track.end[mine], track.start[mine]))]
            assert (track.start[mine][1:] >= track.end[mine][:-1] - 0.01).all()


def test_lanes_stand_in_the_order_of_spawning_depth_first():
    numbers, lanes = arrange(["plan", "plan/b", "root", "plan/a", "plan/b/x", "plan/b"])
    assert [(lane.path, lane.label, lane.depth) for lane in lanes] == [
        ("plan", "plan", 0),
        ("plan/b", "b", 1),
        ("plan/b/x", "x", 2),
        ("plan/a", "a", 1),
        ("root", "root", 0),
    ]
    assert numbers.tolist() == [0, 1, 4, 3, 2, 1]


def test_many_lanes_share_the_last_one_and_it_says_how_many():
    numbers, lanes = arrange([f"lane[{number}]" for number in range(1000)])
    assert len(lanes) == MOST
    assert lanes[-1].label == "937 other lanes"
    assert numbers.max() == MOST - 1


def test_a_step_that_runs_reaches_the_end_and_one_without_duration_has_no_width():
    track = made([(0, 100, "tool", "a", "ok"), (20, None, "tool", "b", "running")])
    assert track.end.tolist() == [100.0, 100.0]
    assert made([(0, 9, "tool", "a", "ok"), (5, None, "tool", "a", "ok")]).end.tolist() == [
        9.0,
        5.0,
    ]


def test_a_source_without_times_has_no_clock():
    assert not tracks(runs.timeless()).clock
    assert tracks(runs.desk()).clock
    assert not tracks(runs.frame([])).clock


def test_the_overview_has_a_fixed_size_whatever_the_lanes():
    rows = [
        (number, 1, kind, f"lane[{number}]", "ok")
        for number in range(64)
        for kind in (*KINDS[:12], None)
    ]
    track = made(rows)
    bins = affordable(track)
    packed = overview(track, by="time", lanes="structure", a=0, b=track.span("time"), bins=bins)
    assert len(packed.pack()) <= BUDGET * 1.1
    assert set(COLOURS) == set(KINDS)


def test_steps_are_put_in_order_of_seq():
    shuffled = runs.desk().sample(fraction=1, shuffle=True, seed=4)
    assert tracks(shuffled).frame["seq"].to_list() == runs.desk()["seq"].to_list()
    assert tracks(shuffled).frame.schema == pl.Schema(runs.STEPS)


@settings(deadline=None)
@given(STEPS)
def test_the_rows_a_lane_needs_are_known_without_placing(rows):
    track = made(rows)
    for lane in np.unique(track.lane):
        mine = (track.lane == lane) & (track.kind != STRUCTURE)
        needed = rows_needed(track.start[mine], track.end[mine])
        assert needed >= track.rows[mine].max(initial=0) + 1
