"""An interrupt is one human call: recorded with its answer, served in a replay, never asked twice."""

import itertools
import os
from collections import Counter

import human_agents as agents
import pytest
from graph_agents import given
from human_agents import approving, block, entered, thread
from langgraph.types import Command, Interrupt, interrupt
from shelf import Shelf

import workbench as wb
from workbench.schema import parse_body

RUNS = int(os.environ.get("WORKBENCH_LANE_RUNS", "15"))
ENTRIES = ["invoke", "ainvoke", "stream", "astream"]


@pytest.fixture
def shelf():
    return Shelf()


def replayed(run, agent, world):
    live, world.poisoned = world.calls, True
    result = wb.replay(run, agent)
    world.poisoned = False
    assert result.divergences == []
    assert result.identical
    assert result.run.content_root == run.content_root
    assert world.calls == live
    return result


def calls(run):
    return run.calls.select("lane", "ordinal", "kind", "name", "status").rows()


def events(run, *types):
    return [event for event in run.event_log() if event.event_type in types]


@pytest.mark.parametrize("entry", ENTRIES)
def test_an_interrupt_and_its_answer_are_one_call_and_what_precedes_it_is_called_again(
    shelf, world, entry
):
    agent = approving()
    answers = (Command(resume="yes"), Command(resume={"sure": True}))
    run = block(shelf, agent, given(), *answers, entry=entry)
    assert calls(run) == [
        ("root/before", 1, "tool", "find", "ok"),
        ("root/review", 1, "tool", "find", "ok"),
        ("root/review", 2, "human", "interrupt", "ok"),
        ("root/review", 3, "tool", "find", "ok"),
        ("root/review", 4, "human", "interrupt", "ok"),
        ("root/review", 5, "tool", "find", "ok"),
        ("root/review", 6, "tool", "find", "ok"),
        ("root/after", 1, "tool", "find", "ok"),
    ]
    humans = [event for event in run.event_log() if event.kind == "human"]
    asked = [parse_body(e).request["value"] for e in humans if e.event_type == "call_started"]
    came = [parse_body(e).outcome["value"] for e in humans if e.event_type == "call_ended"]
    assert (asked, came) == ([{"approve": "refund"}, "are you sure?"], ["yes", {"sure": True}])
    told = [event for event in run.event_log()[:-1] if event.event_type != "chunk"]
    everything = b"".join(bytes(event.payload) for event in told)
    assert everything.count(b"approve") == everything.count(b'"sure"') == 1
    moves = [event.event_type for event in events(run, "interrupted", "resumed")]
    assert moves == ["interrupted", "resumed"] * 2


@pytest.mark.parametrize("entry", ENTRIES)
def test_each_part_of_a_conversation_with_a_person_is_a_recording(shelf, world, entry):
    agent = approving()
    parts = (given(), Command(resume="yes"), Command(resume="sure"))
    runs = [wb.record(shelf, agent, part, config=thread(), entry=entry) for part in parts]
    statuses = [[row[-1] for row in calls(run) if row[2] == "human"] for run in runs]
    assert statuses == [["cancelled"], ["ok", "cancelled"], ["ok", "ok"]]
    assert runs[-1].output["found"][2:4] == ["yes", "sure"]


def test_equal_runs_that_wait_for_people_have_equal_lanes_and_signatures(shelf, world):
    world.numbers = itertools.repeat(7)
    agent, seen = approving(), set()
    for number in range(RUNS):
        with wb.record(shelf) as run:
            for part in (given(), Command(resume="yes"), Command(resume="sure")):
                entered(agent, ENTRIES[number % 4], part, thread(str(number)))
        rows = shelf.run(run.run_id).calls.select("lane", "ordinal", "kind", "name", "signature")
        seen.add(tuple(rows.sort("lane", "ordinal").rows()))
    assert len(seen) == 1


def test_a_step_that_waits_is_one_step_and_its_end_comes_when_it_is_through(shelf, world):
    run = block(shelf, approving(), given(), Command(resume="yes"), Command(resume="sure"))
    nodes = run.steps.filter(run.steps["kind"].is_null())
    assert nodes.select("name", "status").rows() == [
        ("before", "ok"),
        ("review", "ok"),
        ("after", "ok"),
    ]
    left = block(shelf, approving(), given())
    nodes = left.steps.filter(left.steps["kind"].is_null())
    assert nodes.select("name", "status").rows() == [("before", "ok"), ("review", "cancelled")]


def test_a_tool_that_asks_is_left_and_called_again(shelf, world):
    parts = ({"messages": [("user", "hi")]}, Command(resume="A"), Command(resume="B"))
    run = block(shelf, agents.by_a_tool(), *parts)
    assert calls(run) == [
        ("root/tools/1", 1, "tool", "refund", "cancelled"),
        ("root/tools/1", 2, "human", "interrupt", "ok"),
        ("root/tools/1", 3, "tool", "refund", "cancelled"),
        ("root/tools/1", 4, "human", "interrupt", "ok"),
        ("root/tools/1", 5, "tool", "refund", "ok"),
        ("root/ask", 1, "tool", "find", "ok"),
    ]
    assert "A1 A B" in run.messages["text"].to_list()


@pytest.mark.parametrize("at_once", [True, False])
def test_people_asked_side_by_side_are_answered_by_id(shelf, world, at_once):
    run = agents.answered_by_id(shelf, agents.side_by_side(), at_once=at_once)
    humans = [row for row in calls(run) if row[2] == "human"]
    lanes = Counter(row[0] for row in humans)
    assert lanes == {f"root/part[{i}]/ask": 1 for i in range(3)}
    assert [found[1] for found in run.output["found"]] == [f"NUMBER {i}?" for i in range(3)]


@pytest.mark.parametrize("entry", ENTRIES)
def test_a_graph_that_was_told_to_stop_goes_on_where_it_was(shelf, world, entry):
    agent = approving(interrupt_before=["review"], interrupt_after=["review"])
    parts = (given(), None, Command(resume="a"), Command(resume="b"), None)
    run = block(shelf, agent, *parts, entry=entry)
    stops = [parse_body(event).value for event in events(run, "interrupted")]
    assert stops == [
        {"at": "interrupt_before", "nodes": ["review"]},
        None,
        None,
        {"at": "interrupt_after", "nodes": ["after"]},
    ]
    assert len(events(run, "resumed")) == 4
    assert run.calls["lane"].to_list()[-1] == "root/after"


def test_an_agent_that_resumes_itself_is_given_the_recorded_answer(shelf, world):
    run = wb.record(shelf, agents.resuming_itself, None)
    assert replayed(run, agents.resuming_itself, world).output == ["yes", "sure"]


def test_another_answer_is_a_fork(folders, world):
    agent = approving()
    run = block(folders, agent, given(), Command(resume="yes"), Command(resume="sure"))
    replayed(run, agent, world)
    second = run.calls.filter(run.calls["kind"] == "human")["seq"][1]
    forked = wb.fork(run, at=second, edits={"outcome": "not at all"}, agent=agent).run()
    assert forked.output["found"][2:4] == ["yes", "not at all"]


def test_an_answer_in_a_form_is_checked(shelf, world):
    run = block(shelf, agents.by_a_form(), given(), Command(resume={"approved": True}))
    assert run.output["found"][0] is True
    agent = agents.by_a_form()
    wb.record(shelf, agent, given(), config=thread())
    after = wb.record(shelf, agent, Command(resume={"approved": False}), config=thread())
    assert after.output["found"][0] is False
    replayed(after, agent, world)


def test_a_turn_of_a_conversation_replays_with_what_its_thread_held(shelf, world):
    agent = agents.remembering()
    turns = [wb.record(shelf, agent, given(), config=thread()) for _ in range(3)]
    assert [len(turn.output["found"]) for turn in turns] == [1, 2, 3]
    for turn in turns:
        replayed(turn, agent, world)
    assert len(agent.get_state(thread()).values["found"]) == 3, "the thread is left alone"


def test_a_node_tells_which_keys_of_the_state_it_changed(shelf, world):
    run = wb.record(shelf, approving(), given(), config=thread())
    changed = {e.name: parse_body(e).changes for e in events(run, "state_changed")}
    assert changed == {"before": {"found": None}}


def test_a_node_that_only_computes_is_a_step_too(shelf, world):
    run = wb.record(shelf, agents.only_computing(), given())
    nodes = run.steps.filter(run.steps["kind"].is_null())
    assert nodes.select("name", "lane", "status").rows() == [
        ("compute", "root/compute", "ok"),
        ("after", "root/after", "ok"),
    ]
    assert [e.name for e in events(run, "step_started")] == ["after"]


def test_interrupts_are_as_before_when_nothing_is_recorded(shelf, world):
    agent = approving()
    block(shelf, agent, given())
    [waiting] = agent.invoke(given(), thread("outside"))["__interrupt__"]
    assert isinstance(waiting, Interrupt)
    assert interrupt.__code__.co_name == "interrupt"
    with pytest.raises(RuntimeError):
        interrupt("outside a graph")
