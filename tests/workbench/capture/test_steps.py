"""Steps are timed parts of a run: they group calls, number nothing, and are written anew."""

import asyncio
import contextlib
import functools
import time

import pytest
import replay_agents as agents
import step_agents
from step_agents import agent, apieces, fetch, pieces, prepare

import workbench as wb
from workbench import errors
from workbench.schema import parse_body


def bodies(run, event_type):
    return {
        event.name: parse_body(event) for event in run.event_log() if event.event_type == event_type
    }


def tree(run):
    """Return each step and call as (name, name of the step it lies in)."""
    names = dict(zip(run.steps["step_id"], run.steps["name"], strict=True))
    rows = zip(run.steps["name"], run.steps["parent_step_id"], strict=True)
    return [(name, names.get(parent)) for name, parent in rows]


TREE = [
    ("outer", None),
    ("prepare", "outer"),
    ("ask", "prepare"),
    ("ask", "prepare"),
    ("inner", "outer"),
    ("ask", "inner"),
    ("fetching", None),
    ("aask", "fetching"),
    ("pieces", None),
    ("ask", "pieces"),
    ("ask", "pieces"),
    ("apieces", None),
    ("aask", "apieces"),
    ("ask", None),
    ("method", None),
    ("ask", "method"),
    ("of_class", None),
]


def test_steps_group_calls_and_hold_input_output_and_time(folders, world):
    run = wb.record(folders, agent, None)
    assert run.status == "done", run.exception
    assert tree(run) == TREE
    steps = run.steps.filter(run.steps["kind"].is_null())
    assert set(steps["status"]) == {"ok"}
    assert steps["duration_ms"].min() >= 0
    inputs = {name: body.input for name, body in bodies(run, "step_started").items()}
    assert inputs == {
        "outer": {"n": 1},
        "prepare": {"words": ["a", "b"], "sep": " "},
        "inner": None,
        "fetching": {"words": ["d"]},
        "pieces": {"words": ["e", "f"]},
        "apieces": {"words": ["g"]},
        "method": {"word": "h"},
        "of_class": {"word": "i"},
    }
    outputs = {name: body.output for name, body in bodies(run, "step_ended").items()}
    assert outputs == {
        "outer": "a b",
        "prepare": "a b",
        "inner": None,
        "fetching": ["d"],
        "pieces": ["e", "f"],
        "apieces": ["g"],
        "method": "h",
        "of_class": "Deski",
    }


def test_a_replay_writes_its_steps_anew_and_lanes_know_none(folders, world):
    run = wb.record(folders, agent, None)
    world.poisoned = True
    result = wb.replay(run, agent)
    assert result.identical, result.divergences
    assert tree(result.run) == TREE
    assert not set(result.run.steps["step_id"]) & set(run.steps["step_id"])
    assert set(run.calls["lane"]) == {"root"}
    assert run.calls["ordinal"].to_list() == list(range(1, 10))


def test_a_replay_of_the_same_code_without_its_steps_is_identical(folders, world, monkeypatch):
    run = wb.record(folders, agent, None)
    nothing = type("Nothing", (), {"__enter__": lambda s: s, "__exit__": lambda *_: None})
    monkeypatch.setattr(wb, "step", lambda *_, **__: nothing())
    world.poisoned = True
    assert wb.replay(run, agent).run.content_root == run.content_root


def test_on_a_live_server_and_in_the_timeline(store, world):
    run = store.run(wb.record(store, agent, None).run_id)
    assert tree(run) == TREE
    shown = run.timeline()
    assert "prepare" in str(shown.get_state() if hasattr(shown, "get_state") else shown)


def test_work_that_is_spawned_in_a_step_belongs_to_it_and_is_numbered_as_ever(folders, world):
    run = wb.record(folders, step_agents.spawning, None)
    without = functools.partial(step_agents.spawning, step=contextlib.nullcontext)
    bare = wb.record(folders, lambda _: without(None), None)
    assert run.calls["lane"].to_list() == ["root/1", "root/2", "root/3"]
    assert bare.calls["lane"].to_list() == run.calls["lane"].to_list()
    assert tree(run) == [("ask", None), ("spawning", None), ("ask", "spawning"), ("ask", None)]


def test_a_step_that_raises_or_is_cancelled_says_so(folders, world):
    @wb.step
    def broken():
        raise KeyError("gone")

    @wb.step
    async def slow():
        await asyncio.sleep(60)

    @wb.step
    def left():
        yield 1

    async def cancelled():
        task = asyncio.create_task(slow())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    def agent(_):
        with pytest.raises(KeyError), wb.step("around"):
            broken()
        asyncio.run(cancelled())
        return next(left())

    run = wb.record(folders, agent, None)
    assert run.status == "done", run.exception
    found = zip(run.steps["name"], run.steps["status"], run.steps["error"], strict=True)
    assert list(found) == [
        ("around", "error", "KeyError: 'gone'"),
        ("broken", "error", "KeyError: 'gone'"),
        ("slow", "cancelled", None),
        ("left", "cancelled", None),
    ]


def test_inside_a_call_and_outside_a_recording_a_step_is_nothing(folders, world):
    @wb.tool
    def outer(word):
        with wb.step("hidden") as hidden:
            hidden.output = prepare([word])
        return hidden.output

    assert outer("x") == "x"
    run = wb.record(folders, lambda _: outer("y"), None)
    assert run.steps["name"].to_list() == ["outer"]


def test_arguments_that_do_not_fit_raise_as_ever(folders, world):
    def agent(_):
        for wrong in (prepare, lambda: asyncio.run(fetch()), pieces, apieces):
            with pytest.raises(TypeError, match="missing 1 required positional argument"):
                wrong()

    run = wb.record(folders, agent, None)
    assert run.status == "done", run.exception
    assert run.steps.height == 0


def test_steps_beside_each_other_in_tasks_hold_their_own_calls(folders, world):
    @wb.step
    async def one(word):
        await asyncio.sleep(0)
        return await agents.aask(word)

    async def agent(_):
        await asyncio.gather(*(one(word) for word in "abc"))

    run = wb.record(folders, agent, None)
    steps = run.steps
    inner = steps.join(
        steps.select("step_id", of="name"), left_on="parent_step_id", right_on="step_id"
    )
    assert inner["of"].to_list() == ["one"] * 3
    assert sorted(inner["lane"]) == ["root/1", "root/2", "root/3"]
    assert inner["parent_step_id"].n_unique() == 3


def test_a_step_in_a_node_lies_in_the_nodes_step_and_a_graph_in_a_step_in_that(folders, world):
    run = wb.record(folders, step_agents.around_a_graph, None)
    assert tree(run) == [
        ("around", None),
        ("node", "around"),
        ("in the node", "node"),
        ("ask", "in the node"),
    ]
    assert run.calls["lane"].to_list() == ["root/node"]


def test_what_cannot_be_kept_of_a_step_makes_it_lossy_and_the_run_replayable(folders, world):
    @wb.step
    def around(thing):
        agents.ask("x")
        return thing

    def agent(_):
        around(lambda: 1)
        with wb.step("prices", input=time):
            pass

    run = wb.record(folders, agent, None)
    ends = [e.quality for e in run.event_log() if e.event_type == "step_ended"]
    assert ends == ["lossy", "full"]
    world.poisoned = True
    assert wb.replay(run, agent).identical


def test_a_step_of_a_block_has_a_name():
    with pytest.raises(errors.UsageError, match="no name"), wb.step():
        pass
