"""A simulated replay: the agent's own code on plausible answers, labelled and never identical."""

import json
import socket
from typing import TypedDict

import pytest
import replay_agents as agents
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt

import workbench as wb
from workbench.replay.rules import Rule
from workbench.replay.simulate import Simulator


@wb.call(effect="write")
def book(order, *, notify=True):
    return agents.world.live(f"book {order}")


def desk(given):
    return [agents.ask(given), book("A1"), agents.ask(given)]


def labelled(result, source):
    """Assert that every event of a simulated replay says so, and return its provenances."""
    events = result.run.events
    calls = events.filter(events["kind"].is_not_null())
    told = events.filter(events["payload"].str.starts_with('{"label":"simulated"'))
    assert set(calls["mode"]) == set(told["mode"]) == {"simulated"}
    assert set(calls["match_level"]) == set(told["match_level"]) == {"simulated"}
    begun = events.filter(events["event_type"] == "call_started")
    assert told["step_id"].to_list() == begun["step_id"].to_list()
    assert not result.identical
    counted = result.certificate["calls"]
    assert (counted["consumed"], counted["asked"]) == (0, begun.height)
    assert counted["recorded"] == counted["replaced"] + counted["unconsumed"]
    assert counted["recorded"] == source.calls.height
    assert result.certificate["match_levels"] == {"simulated": begun.height}
    bodies = [json.loads(payload) for payload in told["payload"]]
    assert {body["label"] for body in bodies} == {"simulated"}
    return [body["value"] for body in bodies]


@pytest.fixture
def lake_folder(folders, world, tmp_path):
    """Write runs as one folder of several, and open it."""
    from workbench.store import export

    def write(*runs):
        store = wb.open(str(export.export(runs, tmp_path / f"lake-{len(runs)}")))
        return [store.run(run.run_id) for run in runs]

    return write


def test_a_simulated_replay_is_labelled_counted_apart_and_never_identical(
    folders, world, lake_folder
):
    (run,) = lake_folder(wb.record(folders, desk, "ready?"))
    world.poisoned = True
    late = Rule(name="second", match={"/name": "ask", "/ordinal": 3}, error=TimeoutError("late"))
    result = wb.replay(run, desk, mode="simulated", simulate=Simulator({"book": "booked"}, [late]))
    assert result.run.status == "failed"
    assert result.run.exception["class"] == "builtins:TimeoutError"
    first, second, third = labelled(result, run)
    assert (first["source"], first["run_id"], first["seq"], first["distance"]) == (
        *("nearest", run.run_id),
        *(run.calls["seq"][0], 0.0),
    )
    assert (second["source"], third["source"], third["rule"]) == ("payload", "rule", "second")
    assert result.run.info["mode"] == "simulated"


def test_what_the_source_gave_comes_again_position_by_position(folders, world, lake_folder):
    older = wb.record(folders, agents.identical_in_bare_threads, None)
    (run, _) = lake_folder(wb.record(folders, agents.identical_in_bare_threads, None), older)
    world.poisoned = True
    result = wb.replay(run, agents.identical_in_bare_threads, mode="simulated")
    assert result.output == run.output
    assert {one["run_id"] for one in labelled(result, run)} == {run.run_id}


def changed(given):
    return [agents.ask("a"), book("B2")]


def test_a_call_the_source_never_made_is_answered_by_another_run(folders, world, lake_folder):
    (run, other) = lake_folder(
        wb.record(folders, agents.sequence, "x"),
        wb.record(folders, changed, "x"),
    )
    world.poisoned = True
    result = wb.replay(run, changed, mode="simulated")
    assert result.run.status == "done", result.divergences
    assert result.output == other.output
    assert {one["run_id"] for one in labelled(result, run)} == {other.run_id}


def test_where_nothing_is_near_the_agent_is_stopped_and_the_distance_is_told(
    folders, world, lake_folder
):
    (run,) = lake_folder(wb.record(folders, desk, "ready?"))
    world.poisoned = True

    def other(given):
        return book("B2", notify=False)

    result = wb.replay(run, other, mode="simulated")
    assert result.run.status == "diverged"
    (found,) = [one for one in result.divergences if one.kind == "extra_call"]
    assert found.actual["distance"] == 1.0
    assert "at distance 1" in found.cause
    assert result.certificate["match_levels"] == {"miss": 1}
    assert set(result.run.calls["mode"]) == {"simulated"}


def test_a_graphs_tool_answers_are_addressed_to_the_calls_that_ask(folders, world, lake_folder):
    (run,) = lake_folder(wb.record(folders, agents.desk_graph, agents.question()))
    world.poisoned = True
    result = wb.replay(
        run, agents.desk_graph, mode="simulated", simulate=Simulator({"look_up": "on its way"})
    )
    assert result.run.status == "done", result.divergences
    messages = result.output["messages"]
    calls = [call["id"] for call in messages[1].tool_calls]
    answers = messages[2 : 2 + len(calls)]
    assert [one.tool_call_id for one in answers] == calls
    assert {one.content for one in answers} == {"on its way"}
    (page,) = {one for one in run.output["found"] if one.startswith("page")}
    assert set(result.output["found"]) == {"on its way", page}, "asked for by code: a text"


def test_a_stream_is_answered_in_one_piece(folders, world, lake_folder):
    def streamed(given):
        return [chunk.content for chunk in agents.StreamingModel().stream(given)]

    (run,) = lake_folder(wb.record(folders, streamed, "hello"))
    world.poisoned = True
    result = wb.replay(run, streamed, mode="simulated")
    assert result.output == ["".join(run.output)]
    result = wb.replay(run, streamed, mode="simulated", simulate=Simulator({"desk-1": "hi"}))
    assert result.output == ["hi"]


def test_a_request_is_compared_as_it_is_stored(folders, world, lake_folder):
    rule = wb.Rule(name="order", pattern="A\\d")

    def agent(given):
        return agents.ask({"what": "where is A1", "who": "ann"})

    (run,) = lake_folder(wb.record(folders, agent, "x", redact=[rule]))
    assert "A1" not in str(run.calls["request"].to_list())
    world.poisoned = True
    result = wb.replay(run, agent, mode="simulated", redact=[rule])
    (one,) = labelled(result, run)
    assert one["distance"] == 0
    calls = result.run.events.filter(result.run.events["kind"].is_not_null())
    assert "A1" not in str(calls["payload"].to_list())


class Asking(TypedDict, total=False):
    answer: str


def _asks(state):
    return {"answer": f"{interrupt('may I?')} {agents.ask('then')['answer']}"}


def asking():
    graph = StateGraph(Asking)
    graph.add_node("asks", _asks)
    graph.add_edge(START, "asks")
    return graph.compile(checkpointer=InMemorySaver())


def test_a_person_is_simulated_too(folders, world, lake_folder):
    graph, thread = asking(), {"configurable": {"thread_id": "t"}}

    with wb.record(folders) as recording:
        graph.invoke({"answer": ""}, thread)
        graph.invoke(Command(resume="yes"), thread)
    (run,) = lake_folder(folders.run(recording.run_id))
    world.poisoned = True
    result = wb.replay(run, graph, mode="simulated", simulate=Simulator({"interrupt": "no"}))
    assert result.run.status == "done", (result.divergences, result.run.exception)
    assert result.output["answer"].startswith("no ")
    assert {one["source"] for one in labelled(result, run)} == {"payload", "nearest"}


def test_what_a_payload_calls_is_no_call_of_the_agent(folders, world, lake_folder):
    (run,) = lake_folder(wb.record(folders, desk, "ready?"))

    def payload(question):
        return agents.ask("by the payload") if question.name == "ask" else "booked"

    result = wb.replay(run, desk, mode="simulated", simulate=Simulator(payload))
    assert [one["source"] for one in labelled(result, run)] == ["payload"] * 3
    assert result.run.calls["name"].to_list() == ["ask", "book", "ask"]
    assert result.output[0]["what"] == "by the payload"


def test_a_payload_that_connects_is_refused_as_the_agent_would_be(folders, world, lake_folder):
    (run,) = lake_folder(wb.record(folders, desk, "ready?"))

    def payload(question):
        return socket.create_connection(("127.0.0.1", 9)).close()

    result = wb.replay(run, desk, mode="simulated", simulate=Simulator(payload))
    assert result.run.status == "diverged"
    assert "capture_gap" in {found.kind for found in result.divergences}


def test_a_replay_without_any_call_is_no_reproduction_either(folders, world, lake_folder):
    def nothing(given):
        return given

    (run,) = lake_folder(wb.record(folders, nothing, "x"))
    result = wb.replay(run, nothing, mode="simulated")
    assert result.output == run.output
    assert result.divergences == []
    assert not result.identical


def test_isolated_it_answers_as_guarded(folders, world, lake_folder):
    from workbench.replay import isolation

    if not isolation.possible():
        pytest.skip("no network namespace here")
    (run,) = lake_folder(wb.record(folders, agents.desk_graph, agents.question()))
    simulator = Simulator({"look_up": "on its way"})
    results = [
        wb.replay(run, agents.desk_graph, mode="simulated", simulate=simulator, isolate=isolate)
        for isolate in (False, True)
    ]
    assert results[1].certificate["strength"] == "isolated"
    assert results[0].run.content_root == results[1].run.content_root
    told = [
        sorted(labelled(result, run), key=lambda one: json.dumps(one, sort_keys=True))
        for result in results
    ]
    assert told[0] == told[1]
