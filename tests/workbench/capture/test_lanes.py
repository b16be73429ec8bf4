"""Lanes say where work was spawned: equal runs have equal lanes, however their calls interleave."""

import asyncio
import contextvars
import queue
import threading

import pytest
import replay_agents as agents
from langchain_core.runnables import RunnableLambda, RunnableParallel
from langgraph.func import entrypoint, task

import workbench as wb
from workbench import errors
from workbench.capture import RecordingWarning

ENTRIES = ["invoke", "ainvoke", "stream", "astream"]
PLAIN = [
    agents.identical_gather,
    agents.chains_in_a_gather,
    agents.different_in_threads,
    agents.identical_in_bare_threads,
    agents.everything_at_once,
]
TIMES = 20


def shape(run):
    """Return lane → what was called in it, in order."""
    rows = run.calls.sort("lane", "ordinal").select("lane", "ordinal", "kind", "name")
    return rows.rows()


def test_sync_async_and_streamed_runs_of_one_graph_have_the_same_lanes(folders, world):
    runs = [wb.record(folders, agents.desk_graph, agents.question(), entry=e) for e in ENTRIES]
    assert [run.status for run in runs] == ["done"] * 4
    assert len({tuple(shape(run)) for run in runs}) == 1


def test_the_lanes_of_a_graph_are_its_nodes_positions_and_pushes(folders, world):
    run = wb.record(folders, agents.desk_graph, agents.question())
    expected = {
        "root/agent",
        *(f"root/tools/{i}" for i in (1, 2, 3, 4)),
        *(f"root/worker[{i}]" for i in (0, 1, 2)),
        "root/inner/read",
        *(f"root/inner/two/{i}" for i in (1, 2, 3)),
    }
    assert expected == set(run.calls["lane"])


@pytest.mark.parametrize("entry", ENTRIES)
def test_parallel_nodes_tool_calls_and_fan_outs_keep_their_lanes(folders, world, entry):
    shapes = {
        tuple(shape(wb.record(folders, agents.desk_graph, agents.question(), entry=entry)))
        for _ in range(TIMES)
    }
    assert len(shapes) == 1


@pytest.mark.parametrize("agent", PLAIN, ids=lambda agent: agent.__name__)
def test_tasks_and_threads_keep_their_lanes(folders, world, agent):
    runs = [wb.record(folders, agent, None) for _ in range(TIMES)]
    assert {run.status for run in runs} == {"done"}
    assert len({tuple(shape(run)) for run in runs}) == 1
    assert set(runs[0].steps["order"].drop_nulls()) == {"declared"}


def test_nodes_are_steps_and_calls_lie_in_them(folders, world):
    run = wb.record(folders, agents.desk_graph, agents.question())
    nodes = run.steps.filter(run.steps["kind"].is_null())
    assert {"agent", "tools", "worker", "read", "two"} <= set(nodes["name"])
    inside = dict(zip(nodes["step_id"], nodes["name"], strict=True))
    models = run.steps.filter(run.steps["kind"] == "model")
    assert {inside[step] for step in models["parent_step_id"]} == {"agent"}


def test_tasks_that_share_a_context_have_lanes_of_their_own(folders, world):
    async def agent(_):
        context = contextvars.copy_context()
        loop = asyncio.get_running_loop()
        tasks = [loop.create_task(agents.aask("same"), context=context) for _ in range(3)]
        return await asyncio.gather(*tasks)

    for _ in range(TIMES):
        run = wb.record(folders, agent, None)
        assert shape(run) == [(f"root/{i}", 1, "tool", "aask") for i in (1, 2, 3)]
        assert wb.replay(run, agent).identical


def _run_one(jobs):
    jobs.get()()


def test_calls_that_race_in_one_lane_are_kept_apart_and_refused_in_exact(folders, world):
    # threads that were there before, and take what they run from nobody who could number it
    jobs, barrier = queue.SimpleQueue(), threading.Barrier(2)
    threads = [threading.Thread(target=_run_one, args=(jobs,)) for _ in range(2)]
    for thread in threads:
        thread.start()

    @wb.call()
    def meet():
        return barrier.wait(5)

    def agent(_):
        done = [threading.Event(), threading.Event()]
        for event in done:
            context = contextvars.copy_context()
            jobs.put(lambda c=context, e=event: (c.run(meet), e.set()))
        return [event.wait(5) for event in done]

    with pytest.warns(RecordingWarning, match="order is inferred"):
        run = wb.record(folders, agent, None)
    for thread in threads:
        thread.join()
    assert sorted(run.calls["lane"]) == ["root/?1", "root/?2"]
    with pytest.raises(errors.RecordingIncomplete, match="ran beside another call"):
        wb.replay(run, agent)


def _branches():
    return RunnableParallel(
        one=agents.DeskModel(lookups=0),
        two=agents.DeskModel(lookups=0),
        three=RunnableLambda(lambda _: agents.look_up.invoke({"order": "same"})),
    )


@task
def _look(number):
    return agents.look_up.invoke({"order": str(number % 2)})


@entrypoint()
def _flow(_):
    return [found.result() for found in [_look(i) for i in range(4)]]


@entrypoint()
async def _aflow(_):
    return await asyncio.gather(*(_look(i) for i in range(4)))


@pytest.mark.parametrize(
    ("agent", "entries", "lanes"),
    [
        (_branches(), ("invoke", "ainvoke"), ["root/1", "root/2", "root/3"]),
        (_flow, ("invoke", "stream"), [f"root/_flow/_look[{i}]" for i in range(4)]),
        (_aflow, ("ainvoke", "astream"), [f"root/_aflow/_look[{i}]" for i in range(4)]),
    ],
    ids=["branches", "tasks", "async tasks"],
)
def test_parallel_branches_and_functional_tasks_have_lanes(folders, world, agent, entries, lanes):
    for entry in entries:
        for _ in range(TIMES // 4):
            run = wb.record(folders, agent, "x", entry=entry)
            assert sorted(run.calls["lane"]) == lanes
            assert wb.replay(run, agent).identical
