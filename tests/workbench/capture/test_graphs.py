"""Every shape of a graph has the lanes that REPLAY.md gives it, in each run, and replays exactly."""

import itertools
import os
from collections import Counter

import graph_agents as shapes
import pytest
from shelf import Shelf

import workbench as wb

RUNS = int(os.environ.get("WORKBENCH_LANE_RUNS", "15"))
EACH = [(name, entry) for name, case in shapes.CASES.items() for entry in case.entries]


@pytest.fixture
def shelf():
    return Shelf()


def recorded(store, name, entry):
    case = shapes.CASES[name]
    shapes.failed.clear()
    run = wb.record(store, case.agent, case.given, entry=entry)
    assert run.status == "done", run.exception
    return run


def calls(run):
    """Return every call as what an equal run has again: lane, ordinal, kind, name, signature."""
    wanted = ("lane", "ordinal", "kind", "name", "signature")
    rows = run.calls.select(*wanted).sort("lane", "ordinal").rows()
    assert set(run.calls["order"]) == {"declared"}
    return tuple(rows)


@pytest.mark.parametrize(("name", "entry"), EACH)
def test_each_shape_has_its_lanes_and_replays_with_the_world_poisoned(shelf, world, name, entry):
    run = recorded(shelf, name, entry)
    assert Counter(run.calls["lane"]) == shapes.CASES[name].lanes
    live = world.calls
    world.poisoned = True
    result = wb.replay(run, shapes.CASES[name].agent)
    assert result.divergences == []
    assert result.identical
    assert set(result.matches["match_level"]) == {"exact"}
    assert result.run.content_root == run.content_root
    assert world.calls == live


@pytest.mark.parametrize("name", shapes.CASES)
def test_equal_runs_have_equal_lanes_ordinals_and_signatures(shelf, world, name):
    entries = shapes.CASES[name].entries
    world.numbers = itertools.repeat(7)  # what is answered is equal too
    runs = (recorded(shelf, name, entries[i % len(entries)]) for i in range(RUNS))
    assert len({calls(run) for run in runs}) == 1
