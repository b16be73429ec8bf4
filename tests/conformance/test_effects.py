"""Cases in which a replay acted on the world, asked a person again, or gave back another run's result.

The part of C14 that concerns keys and imports needs a server: a replay's key with another body is
refused in tests/server/test_replays.py (``another_body_by_the_same_key``), a run id that comes with
other events in tests/workbench/importers/test_importers.py (``test_c14``), and a bundle whose bytes
are others in tests/workbench/store/test_bundle.py.
"""

import operator
from pathlib import Path
from typing import Annotated, TypedDict

import conformance_agents as cases
import pytest
import replay_agents as agents
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt
from shelf import Shelf
from strengths import each_strength
from test_outside import Server, reached

import workbench as wb
from workbench import errors
from workbench.replay.session import ReplaySession

each_side = pytest.mark.parametrize("side", ["plain", "graph"])

# ---- C11: nothing is done again


@pytest.fixture
def spent(tmp_path, world, folders):
    """Record what leaves a line in a file and a byte at a server, twice; return run and both."""
    server = Server(str(tmp_path / "s"))
    file = tmp_path / "spent.txt"

    def record(side):
        given = {"file": str(file), "port": server.port}
        run = cases.recorded(folders, side, cases.spends, given)
        assert reached(server, 2) == 2
        return run, file, server

    yield record
    server.close()


@each_side
@each_strength
def test_c11_no_side_effect_and_no_socket_in_an_exact_replay(spent, poison, side, isolate):
    run, file, server = spent(side)
    before = file.read_bytes()
    poison()
    result = wb.replay(run, isolate=isolate)
    assert result.identical
    assert file.read_bytes() == before
    assert server.reached == 2


@each_side
def test_c11_where_calls_are_made_the_file_tells(spent, side, monkeypatch):
    run, file, _ = spent(side)
    before = file.read_bytes()
    monkeypatch.setattr(ReplaySession, "answer", lambda *_: None)
    wb.replay(run)
    assert file.read_bytes() != before


@each_side
def test_c11_no_side_effect_in_the_part_of_a_fork_before_its_edit(spent, poison, side):
    run, file, server = spent(side)
    before = file.read_bytes()
    poison()
    last = run.calls["seq"][-1]
    result = wb.fork(run, at=last, edits={"outcome": "saved"}).run()
    assert result.matches["match_level"].to_list() == ["exact", "exact", "edited"]
    assert file.read_bytes() == before
    assert server.reached == 2


# ---- C12: a person's answer


class State(TypedDict):
    found: Annotated[list, operator.add]


@wb.call(effect="write")
def pay(what):
    return f"paid {what} {agents.world.live('pay')}"


def approving(question="refund?"):
    """Return a graph that drafts, asks a person and pays."""

    def review(_):
        draft = agents.ask("draft")["answer"]
        return {"found": [draft, interrupt(question), pay(draft)]}

    graph = StateGraph(State)
    graph.add_node("review", review)
    graph.add_edge(START, "review")
    return graph.compile(checkpointer=InMemorySaver())


@wb.call(effect="read", kind="human", name="approval")
def approval(question):
    return f"yes {agents.world.live('approval')}"


def plain_approving(question="refund?"):
    def agent(_):
        draft = agents.ask("draft")["answer"]
        return [draft, approval(question), pay(draft)]

    return agent


def approved(side):
    """Record an agent that has to ask; return the run and how to make the agent."""
    shelf = Shelf()
    if side == "plain":
        return wb.record(shelf, plain_approving(), None), plain_approving
    graph, thread = approving(), {"configurable": {"thread_id": "t"}}
    with wb.record(shelf) as recording:
        graph.invoke({"found": []}, thread)
        graph.invoke(Command(resume="yes"), thread)
    return shelf.run(recording.run_id), approving


@each_side
def test_c12_the_recorded_answer_is_served_and_nothing_counts_twice(world, side):
    run, made = approved(side)
    calls, effects = world.calls, Path(world.side_effects).read_text()
    assert effects.count("pay") == 1
    world.poisoned = True
    result = wb.replay(run, made())
    assert result.divergences == []
    assert result.identical
    assert result.output == run.output
    assert (world.calls, Path(world.side_effects).read_text()) == (calls, effects)
    counts = result.certificate["calls"]
    assert counts["consumed"] == counts["recorded"] == run.calls.height
    (human,) = result.matches.filter(result.matches["kind"] == "human").rows(named=True)
    assert human["match_level"] == "exact"


@each_side
@pytest.mark.parametrize("mode", ["exact", "cached"])
def test_c12_another_question_ends_the_replay_and_nothing_was_paid_for(world, side, mode):
    run, made = approved(side)
    calls = world.calls
    (asked,) = run.calls.filter(run.calls["kind"] == "human")["seq"]
    result = wb.replay(run, made("refund twice?"), mode=mode)
    assert (result.divergences[0].kind, result.divergences[0].seq) == ("request_changed", asked)
    assert result.run.status == "diverged"
    assert world.calls == calls


@each_side
def test_c12_a_replay_that_cannot_go_on_has_paid_for_nothing(world, side):
    run, made = approved(side)
    calls = world.calls
    result = wb.replay(run, made(), mode="cached", overrides={"tool:pay": "live"})
    assert [found.kind for found in result.divergences][:1] == ["refused"]
    with pytest.raises(errors.UsageError, match="no way out"):
        wb.replay(run, made(), mode="live", isolate=True)
    assert world.calls == calls


# ---- C14: the same run id


def says_what_it_is_given(given):
    return [given, agents.ask(given)["answer"]]


def test_c14_the_same_run_id_with_another_input_is_another_replay(world):
    one, other = Shelf(), Shelf()
    run = wb.record(one, says_what_it_is_given, "one")
    second = wb.record(other, says_what_it_is_given, "two")
    other._sinks[run.run_id] = other._sinks.pop(second.run_id)
    other._sinks[run.run_id].header = one._sinks[run.run_id].header
    world.poisoned = True
    results = [
        wb.replay(store.run(run.run_id), says_what_it_is_given, into=store)
        for store in (one, other, one)
    ]
    assert [result.identical for result in results] == [True] * 3
    assert [result.output[0] for result in results] == ["one", "two", "one"]
    roots = [result.certificate["source"]["log_root"] for result in results]
    assert roots[0] == roots[2] != roots[1]
