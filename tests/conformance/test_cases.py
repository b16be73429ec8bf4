"""Cases that broke other tools, as replays: each on plain Python, and in a node of a graph.

``WORKBENCH_REPEAT`` says how often a case is recorded and replayed where order matters.
"""

import asyncio
import inspect
import os
import time
import uuid

import lane_agents
import pytest
import replay_agents as agents
from conformance_agents import asks_a_desk, in_a_graph, tries_again
from shelf import Shelf

import workbench as wb

TIMES = int(os.environ.get("WORKBENCH_REPEAT") or 50)


SIDES = {"plain": lambda work: work, "graph": in_a_graph}
each_side = pytest.mark.parametrize("side", SIDES)


def recorded(store, side, work):
    """Record work on one side; return the run and the agent."""
    agent = SIDES[side](work)
    entry = {"entry": "ainvoke"} if side == "graph" and inspect.iscoroutinefunction(work) else {}
    return wb.record(store, agent, {"found": None}, **entry), agent


def first(result):
    assert not result.identical
    assert result.run.status == "diverged"
    return result.divergences[0]


def consumed(result):
    return result.certificate["calls"]["consumed"]


# ---- C1, C2, C3: side by side


@each_side
@pytest.mark.parametrize(
    "work",
    [
        agents.identical_gather,
        agents.identical_in_bare_threads,
        agents.chains_in_a_gather,
        agents.different_in_threads,
    ],
    ids=["c1_tasks", "c1_threads", "c2", "c3"],
)
def test_c1_c2_c3_each_of_several_at_once_gets_its_own_answer(world, side, work):
    store = Shelf()
    runs = [recorded(store, side, work) for _ in range(TIMES)]
    calls, world.poisoned = world.calls, True
    for run, agent in runs:
        result = wb.replay(run, agent)
        assert result.divergences == []
        assert result.identical
        assert result.output == run.output
        assert consumed(result) == run.calls.height
    assert world.calls == calls


# ---- C4, C5, C6: what is not served


@each_side
def test_c4_one_extra_call_in_front_shifts_nothing(folders, world, side):
    run, agent = recorded(folders, side, asks_a_desk)
    world.extra_call = world.poisoned = True
    result = wb.replay(run, agent)
    found = first(result)
    assert (found.kind, found.seq) == ("extra_call", run.calls["seq"][0])
    assert found.nearest
    assert consumed(result) == 0


@each_side
@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"system": "You are a thief."}, "/messages/0/content"),
        ({"model_name": "desk-2"}, "/model"),
        ({"temperature": 0.0}, "/params/temperature"),
    ],
)
def test_c5_a_changed_prompt_model_or_temperature_is_never_served(
    folders, world, side, changes, pointer
):
    run, agent = recorded(folders, side, asks_a_desk)
    vars(world).update(changes)
    world.poisoned = True
    for mode in ("exact", "cached"):
        result = wb.replay(run, agent, mode=mode)
        found = first(result)
        assert (found.kind, found.seq) == ("request_changed", run.calls["seq"][0])
        assert [change["pointer"] for change in found.changes] == [pointer]
        assert consumed(result) == 0


@each_side
@pytest.mark.parametrize(
    "volatile", [lambda: f"it is {uuid.uuid4()}", lambda: f"now {time.time_ns() / 1e9:.6f}"]
)
def test_c6_a_volatile_prompt_is_told_apart_from_another_one(folders, world, side, volatile):
    def work(_):
        return agents.ask(volatile())["answer"]

    run, agent = recorded(folders, side, work)
    world.poisoned = True
    result = wb.replay(run, agent)
    found = first(result)
    assert (found.kind, found.seq) == ("nondeterminism", run.calls["seq"][0])
    assert "/arguments/what" in found.fix
    assert consumed(result) == 0


# ---- C10: what was recorded is read back


async def _some(stream, many):
    found = [await anext(stream) for _ in range(many)]
    await stream.aclose()
    return found


async def _all(stream):
    return [piece async for piece in stream]


def _left_early(stream):
    found = next(stream)
    stream.close()
    return found


CLIENT_PATHS = {
    "called": lambda _: agents.ask("x"),
    "awaited": lambda _: asyncio.run(lane_agents.aask("x")),
    "streamed": lambda _: [*lane_agents.pieces(3)],
    "astreamed": lambda _: asyncio.run(_all(lane_agents.apieces(3))),
    "left": lambda _: _left_early(lane_agents.pieces(3)),
    "aleft": lambda _: asyncio.run(_some(lane_agents.apieces(3), 2)),
    "message": lambda _: agents.DeskModel(lookups=0).invoke("x"),
    "documents": lambda _: agents.Shelf().invoke("x"),
}


@each_side
@pytest.mark.parametrize("path", CLIENT_PATHS)
def test_c10_every_client_path_is_recorded_read_back_and_replayed(folders, world, side, path):
    run, agent = recorded(folders, side, CLIENT_PATHS[path])
    assert (run.status, run.calls.height) == ("done", 1)
    world.poisoned = True
    result = wb.replay(folders.run(run.run_id), agent)
    assert result.divergences == []
    assert result.identical


# ---- C13: attempts


@each_side
def test_c13_every_attempt_is_a_call_and_a_failure_keeps_its_class(folders, world, side):
    run, agent = recorded(folders, side, tries_again)
    assert run.calls["status"].to_list() == ["error", "error", "ok"]
    world.poisoned = True
    result = wb.replay(run, agent)
    assert result.identical
    assert result.output == run.output


# ---- C15: the recording stays what it is


@each_side
@pytest.mark.parametrize(
    "how", [{}, {"mode": "cached"}, {"collect": True}, {"mode": "cached", "collect": True}]
)
@pytest.mark.parametrize("differs", [False, True])
def test_c15_no_replay_changes_its_recording(folders, world, side, how, differs):
    run, agent = recorded(folders, side, asks_a_desk)
    (folder,) = folders.root.iterdir()
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    world.poisoned, world.extra_call = True, differs
    assert wb.replay(run, agent, **how).identical is not differs
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


# ---- C17: changed code


@each_side
def test_c17_changed_code_is_told_with_and_without_a_changed_call(folders, world, module, side):
    agent = module(side, "return [ask('one'), ask('two')]")
    run = wb.record(folders, agent, {"found": None})
    world.poisoned = True
    assert wb.replay(run).identical
    other = wb.replay(run, module(side, "return [ask('one'), ask('three')]"))
    assert [found.kind for found in other.divergences] == ["code_changed", "request_changed"]
    assert other.divergences[1].seq == run.calls["seq"][1]
    same = wb.replay(run, module(side, "return [ask('one'), ask('two')]  # as before"))
    assert [found.kind for found in same.divergences] == ["code_changed"]
    assert not same.identical
