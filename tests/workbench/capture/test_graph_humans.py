"""An interrupt is one human call: recorded with its answer, served in a replay, never asked twice."""

import asyncio
import itertools
import operator
import os
from collections import Counter
from typing import Annotated, TypedDict

import pytest
from graph_agents import State, find, given, graph
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import Command, Interrupt, Send, interrupt
from pydantic import BaseModel
from shelf import Shelf

import workbench as wb
from workbench import errors
from workbench.schema import parse_body

RUNS = int(os.environ.get("WORKBENCH_LANE_RUNS", "15"))
ENTRIES = ["invoke", "ainvoke", "stream", "astream"]


@pytest.fixture
def shelf():
    return Shelf()


def thread(name="t"):
    return {"configurable": {"thread_id": name}}


def before(_):
    return {"found": [find.invoke({"what": "before"})]}


def review(_):
    draft = find.invoke({"what": "draft"})
    first = interrupt({"approve": "refund"})
    second = interrupt("are you sure?")
    return {"found": [draft, first, second, find.invoke({"what": "pay"})]}


def after(_):
    return {"found": [find.invoke({"what": "after"})]}


def approving(**compiled):
    edges = [(START, "before"), ("before", "review"), ("review", "after")]
    return graph(before, review, after, edges=edges, checkpointer=InMemorySaver(), **compiled)


def entered(agent, entry, *args):
    """Call an agent by one of its entries, to the end."""
    if entry == "invoke":
        return agent.invoke(*args)
    if entry == "stream":
        return list(agent.stream(*args))
    if entry == "ainvoke":
        return asyncio.run(agent.ainvoke(*args))

    async def drained():
        return [chunk async for chunk in agent.astream(*args)]

    return asyncio.run(drained())


def block(store, agent, *parts, entry="invoke"):
    """Record a block that goes through the parts one after the other, in one thread."""
    with wb.record(store) as run:
        for part in parts:
            entered(agent, entry, part, thread())
    return store.run(run.run_id)


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
    replayed(run, agent, world)


@pytest.mark.parametrize("entry", ENTRIES)
def test_each_part_of_a_conversation_with_a_person_is_a_recording_that_replays(shelf, world, entry):
    agent = approving()
    parts = (given(), Command(resume="yes"), Command(resume="sure"))
    runs = [wb.record(shelf, agent, part, config=thread(), entry=entry) for part in parts]
    statuses = [[row[-1] for row in calls(run) if row[2] == "human"] for run in runs]
    assert statuses == [["cancelled"], ["ok", "cancelled"], ["ok", "ok"]]
    for run in runs:
        replayed(run, agent, world)
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
    @tool
    def refund(what: str) -> str:
        """Ask a person twice."""
        world.live("refund")
        return f"{what} {interrupt('first?')} {interrupt('second?')}"

    def ask(state):
        if state["messages"][-1].type != "human":
            return {"messages": [AIMessage(find.invoke({"what": "end"}))]}
        call = {"id": "1", "name": "refund", "args": {"what": "A1"}}
        return {"messages": [AIMessage("", tool_calls=[call])]}

    made = StateGraph(MessagesState)
    made.add_node("ask", ask)
    made.add_node("tools", ToolNode([refund]))
    made.add_edge(START, "ask")
    made.add_conditional_edges(
        "ask", lambda s: "tools" if getattr(s["messages"][-1], "tool_calls", None) else END
    )
    made.add_edge("tools", "ask")
    agent = made.compile(checkpointer=InMemorySaver())
    parts = ({"messages": [("user", "hi")]}, Command(resume="A"), Command(resume="B"))
    run = block(shelf, agent, *parts)
    assert calls(run) == [
        ("root/tools/1", 1, "tool", "refund", "cancelled"),
        ("root/tools/1", 2, "human", "interrupt", "ok"),
        ("root/tools/1", 3, "tool", "refund", "cancelled"),
        ("root/tools/1", 4, "human", "interrupt", "ok"),
        ("root/tools/1", 5, "tool", "refund", "ok"),
        ("root/ask", 1, "tool", "find", "ok"),
    ]
    assert "A1 A B" in run.messages["text"].to_list()
    replayed(run, agent, world)


class Part(TypedDict):
    number: int
    found: Annotated[list, operator.add]


def _parallel():
    """People asked side by side, in a subgraph each."""

    def ask(part):
        draft = find.invoke({"what": str(part["number"])})
        return {"found": [[draft, interrupt(f"number {part['number']}?")]]}

    inner = graph(ask, edges=[(START, "ask")], state=Part)
    made = StateGraph(State)
    made.add_node("part", inner)
    sends = [Send("part", {"number": number, "found": []}) for number in range(3)]
    made.add_conditional_edges(START, lambda _: sends, ["part"])
    return made.compile(checkpointer=InMemorySaver())


@pytest.mark.parametrize("at_once", [True, False])
def test_people_asked_side_by_side_are_answered_by_id(shelf, world, at_once):
    agent = _parallel()
    with wb.record(shelf) as run:
        waiting = agent.invoke(given(), thread())["__interrupt__"]
        answers = {one.id: one.value.upper() for one in waiting}
        if at_once:
            agent.invoke(Command(resume=answers), thread())
        else:
            for one, answer in answers.items():
                agent.invoke(Command(resume={one: answer}), thread())
    run = shelf.run(run.run_id)
    humans = [row for row in calls(run) if row[2] == "human"]
    lanes = Counter(row[0] for row in humans)
    assert lanes == {f"root/part[{i}]/ask": 1 for i in range(3)}
    assert [found[1] for found in run.output["found"]] == [f"NUMBER {i}?" for i in range(3)]
    replayed(run, agent, world)


@pytest.mark.parametrize("entry", ENTRIES)
def test_a_graph_that_was_told_to_stop_goes_on_where_it_was(shelf, world, entry):
    agent = approving(interrupt_before=["review"], interrupt_after=["review"])
    run = block(
        shelf, agent, given(), None, Command(resume="a"), Command(resume="b"), None, entry=entry
    )
    stops = [parse_body(event).value for event in events(run, "interrupted")]
    assert stops == [
        {"at": "interrupt_before", "nodes": ["review"]},
        None,
        None,
        {"at": "interrupt_after", "nodes": ["after"]},
    ]
    assert len(events(run, "resumed")) == 4
    assert run.calls["lane"].to_list()[-1] == "root/after"
    replayed(run, agent, world)


def test_an_agent_that_resumes_itself_is_given_the_recorded_answer(shelf, world):
    agent, spoken = approving(), ["yes"]

    def function(_):
        config = thread("own")
        agent.invoke(given(), config)
        agent.invoke(Command(resume=spoken[0]), config)
        return agent.invoke(Command(resume="sure"), config)["found"][2:4]

    run = wb.record(shelf, function, None)
    spoken[0] = "no"
    assert replayed(run, function, world).output == ["yes", "sure"]


def test_another_answer_is_a_fork(folders, world):
    agent = approving()
    run = block(folders, agent, given(), Command(resume="yes"), Command(resume="sure"))
    replayed(run, agent, world)
    second = run.calls.filter(run.calls["kind"] == "human")["seq"][1]
    forked = wb.fork(run, at=second, edits={"outcome": "not at all"}, agent=agent).run()
    assert forked.output["found"][2:4] == ["yes", "not at all"]


class Decision(BaseModel):
    approved: bool


def test_an_answer_in_a_form_is_checked_again_in_a_replay(shelf, world):
    def decide(_):
        decision = interrupt("approve?", response_schema=Decision)
        return {"found": [decision.approved, find.invoke({"what": "x"})]}

    agent = graph(decide, edges=[(START, "decide")], checkpointer=InMemorySaver())
    run = block(shelf, agent, given(), Command(resume={"approved": True}))
    assert run.output["found"][0] is True
    replayed(run, agent, world)
    agent = agent.copy({"checkpointer": InMemorySaver()})
    wb.record(shelf, agent, given(), config=thread())
    after = wb.record(shelf, agent, Command(resume={"approved": False}), config=thread())
    assert after.output["found"][0] is False
    replayed(after, agent, world)


def test_a_turn_of_a_conversation_replays_with_what_its_thread_held(shelf, world):
    agent = graph(before, edges=[(START, "before")], checkpointer=InMemorySaver())
    turns = [wb.record(shelf, agent, given(), config=thread()) for _ in range(3)]
    assert [len(turn.output["found"]) for turn in turns] == [1, 2, 3]
    for turn in turns:
        replayed(turn, agent, world)
    assert len(agent.get_state(thread()).values["found"]) == 3, "the thread is left alone"


def test_what_a_cache_held_before_the_run_is_told_and_refused(shelf, world):
    from langgraph.cache.memory import InMemoryCache
    from langgraph.types import CachePolicy

    made = StateGraph(State)
    made.add_node("before", before, cache_policy=CachePolicy(key_func=lambda _: "same"))
    made.add_edge(START, "before")
    agent = made.compile(cache=InMemoryCache())
    replayed(wb.record(shelf, agent, given()), agent, world)
    with pytest.warns(UserWarning, match="node before"):
        again = wb.record(shelf, agent, given())
    with pytest.raises(errors.RecordingIncomplete, match="cache before the run"):
        wb.replay(again, agent)


def test_a_node_tells_which_keys_of_the_state_it_changed(shelf, world):
    run = wb.record(shelf, approving(), given(), config=thread())
    changed = {e.name: parse_body(e).changes for e in events(run, "state_changed")}
    assert changed == {"before": {"found": None}}


def test_a_node_that_only_computes_is_a_step_too(shelf, world):
    agent = graph(("compute", lambda _: {"found": [1]}), after, edges=[
        (START, "compute"), ("compute", "after")])  # fmt: skip
    run = wb.record(shelf, agent, given())
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
