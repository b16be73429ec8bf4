"""Every shape of a graph has the lanes that REPLAY.md gives it, in each run, and replays exactly."""

import gc
import itertools
import os
from collections import Counter

import graph_agents as shapes
import pytest
from graph_agents import find
from langgraph.graph import END, START, StateGraph
from shelf import Shelf

import workbench as wb
from workbench import errors
from workbench.capture import RecordingWarning, journal
from workbench.capture.scope import Place, Visits

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
def test_each_shape_has_its_lanes(folders, world, name, entry):
    run = recorded(folders, name, entry)
    assert Counter(run.calls["lane"]) == shapes.CASES[name].lanes


@pytest.mark.parametrize("name", shapes.CASES)
def test_equal_runs_have_equal_lanes_ordinals_and_signatures(shelf, world, name):
    entries = shapes.CASES[name].entries
    world.numbers = itertools.repeat(7)  # what is answered is equal too
    runs = (recorded(shelf, name, entries[i % len(entries)]) for i in range(RUNS))
    assert len({calls(run) for run in runs}) == 1


@pytest.mark.parametrize("entry", ["stream", "astream"])
@pytest.mark.parametrize("name", ["create_agent", "streaming", "fan-out"])
def test_the_modes_of_a_stream_change_no_lane(shelf, world, name, entry):
    case, modes = shapes.CASES[name], ["values", "messages", "updates", "custom", "tasks"]
    run = wb.record(shelf, case.agent, case.given, entry=entry, stream_mode=modes)
    assert Counter(run.calls["lane"]) == case.lanes
    world.poisoned = True
    assert wb.replay(run, case.agent).identical


@pytest.mark.parametrize("entry", shapes.ALL)
def test_c13_every_attempt_of_a_node_or_a_model_is_a_call_of_its_own(folders, world, entry):
    run = recorded(folders, "retries", entry)
    trying = run.calls.filter(run.calls["lane"] == "root/trying")
    assert trying.select("name", "status").rows() == [
        ("find", "ok"),
        ("fragile", "error"),
        ("find", "ok"),
        ("fragile", "ok"),
    ]
    nodes = run.steps.filter(run.steps["kind"].is_null())
    assert sorted(nodes.select("name", "status").rows()) == [("calm", "ok"), ("trying", "ok")]
    run = recorded(folders, "attempts", entry)
    assert run.calls.select("name", "status").rows() == [
        ("graph-3", "error"),
        ("graph-3", "ok"),
        ("graph-4", "error"),
        ("graph-5", "ok"),
        ("fragile", "error"),
        ("fragile", "ok"),
    ]
    assert set(run.calls["error"].drop_nulls()) == {
        "ConnectionError: again failed",
        "ConnectionError: instead failed",
        "ConnectionError: fragile tool failed",
    }


class Gone(Shelf):
    """A store that takes nothing."""

    def writer(self, header):
        made = super().writer(header)

        def append(events, bodies=None):
            raise errors.Unavailable("the store went away")

        made.append = append
        return made

    def run(self, run_id):
        raise errors.Unavailable("the store went away")


@pytest.mark.parametrize("name", ["create_agent", "fan-out", "streaming", "conversation"])
def test_c16_a_graph_runs_to_its_end_where_its_store_takes_nothing(world, monkeypatch, name):
    monkeypatch.setattr(journal, "_LAST_TRY_S", 0.1)
    case = shapes.CASES[name]
    with pytest.warns(RecordingWarning, match="could not be stored"):
        run = wb.record(Gone(), case.agent, case.given, entry=case.entries[0])
    assert run.status == "done"
    assert world.calls >= sum(case.lanes.values())


def test_what_a_node_has_spawned_finds_its_lane_again_when_the_node_was_left():
    visits, outer = Visits(), Place("root")
    busy, idle = (visits.enter(outer, name, {}) for name in ("busy:1", "idle:1"))
    assert [busy.child().path, busy.handed_over().path] == ["root/busy/1", "root/busy/>1"]
    for place in (busy, idle):
        visits.leave(place)
    assert visits.place(outer, "busy:1", {}) is busy
    assert visits.place(outer, "busy:1", {}).child().path == "root/busy/2"
    assert visits.place(outer, "idle:1", {}).child().path == "root/idle/1"


def test_lanes_of_nodes_that_were_left_take_no_room(shelf, world):
    def known():
        gc.collect()
        return sum(type(one) is Place for one in gc.get_objects())

    def work(state):
        find.invoke({"what": str(state["turn"])})
        return {"turn": state["turn"] + 1}

    looping = StateGraph(dict)
    looping.add_node("work", work)
    looping.add_edge(START, "work")
    looping.add_conditional_edges("work", lambda s: END if s["turn"] % 100 == 0 else "work")
    compiled = looping.compile()

    def agent(_):
        compiled.invoke({"turn": 1}, {"recursion_limit": 200})
        before = known()
        compiled.invoke({"turn": 1}, {"recursion_limit": 200})
        return known() - before

    run = wb.record(shelf, agent, None)
    assert run.calls.height == 198
    assert run.output <= 5
