"""Cases that broke other tools, as replays: on plain Python and in a node of a graph, both strengths.

In each the world is poisoned, guarded in this process and isolated in the child's. ``WORKBENCH_REPEAT``
says how often a case is recorded and replayed guarded where order matters, and
``WORKBENCH_REPEAT_ISOLATED`` how often isolated. The client paths of C10, and everything else that
an agent may be made of, are in test_shapes.py.
"""

import conformance_agents as cases
import pytest

import workbench as wb

each_side = pytest.mark.parametrize("side", ["plain", "graph"])


def first(result):
    assert not result.identical
    assert result.run.status == "diverged"
    return result.divergences[0]


def consumed(result):
    return result.certificate["calls"]["consumed"]


# ---- C1, C2, C3: side by side


@each_side
@pytest.mark.parametrize(
    "work", cases.WORKS[:4], ids=["c1_tasks", "c1_threads", "c2_chains", "c3_threads"]
)
def test_c1_c2_c3_each_of_several_at_once_gets_its_own_answer(  # noqa: PLR0917 - fixtures
    folders, poison, replayed, repeats, side, work
):
    runs = [cases.recorded(folders, side, work) for _ in range(repeats)]
    poison()
    for run in runs:
        result = replayed(run)
        assert result.divergences == []
        assert result.identical
        assert result.output == run.output
        assert consumed(result) == run.calls.height
    assert poison.bitten() == []


@each_side
@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("interception_off")
def test_c1_c2_c3_where_nothing_is_answered_the_poison_bites(folders, poison, strength, side):
    run = cases.recorded(folders, side, cases.WORKS[3])
    poison()
    result = wb.replay(run, isolate=strength == "isolated")
    assert not result.identical
    assert "ask was called live" in str(result.run.exception)
    assert "ask" in poison.bitten()


# ---- C4, C5, C6: what is not served


@each_side
def test_c4_one_extra_call_in_front_shifts_nothing(folders, poison, replayed, side):
    run = cases.recorded(folders, side, cases.asks_a_desk)
    poison(extra_call=True)
    result = replayed(run)
    found = first(result)
    assert (found.kind, found.seq) == ("extra_call", run.calls["seq"][0])
    assert found.nearest
    assert consumed(result) == 0
    assert poison.bitten() == []


@each_side
@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"system": "You are a thief."}, "/messages/0/content"),
        ({"model_name": "desk-2"}, "/model"),
        ({"temperature": 0.0}, "/params/temperature"),
    ],
)
@pytest.mark.parametrize("mode", ["exact", "cached"])
def test_c5_a_changed_prompt_model_or_temperature_is_never_served(  # noqa: PLR0917 - fixtures
    folders, poison, replayed, side, changes, pointer, mode
):
    run = cases.recorded(folders, side, cases.asks_a_desk)
    poison(**changes)
    result = replayed(run, mode=mode)
    found = first(result)
    assert (found.kind, found.seq) == ("request_changed", run.calls["seq"][0])
    assert [change["pointer"] for change in found.changes] == [pointer]
    assert consumed(result) == 0
    assert poison.bitten() == []


@each_side
@pytest.mark.parametrize("work", [cases.asks_by_id, cases.asks_by_time])
def test_c6_a_volatile_prompt_is_told_apart_from_another_one(folders, poison, replayed, side, work):
    run = cases.recorded(folders, side, work)
    poison()
    result = replayed(run)
    found = first(result)
    assert (found.kind, found.seq) == ("nondeterminism", run.calls["seq"][0])
    assert "/arguments/what" in found.fix
    assert consumed(result) == 0
    assert poison.bitten() == []


# ---- C13: attempts


@each_side
def test_c13_every_attempt_is_a_call_and_a_failure_keeps_its_class(folders, poison, replayed, side):
    run = cases.recorded(folders, side, cases.tries_again)
    assert run.calls["status"].to_list() == ["error", "error", "ok"]
    poison()
    result = replayed(run)
    assert result.identical
    assert result.output == run.output
    assert result.run.calls["status"].to_list() == ["error", "error", "ok"]
    assert poison.bitten() == []


# ---- C15: the recording stays what it is


@each_side
@pytest.mark.parametrize("how", [{}, {"mode": "cached", "collect": True}], ids=["exact", "all"])
@pytest.mark.parametrize("differs", [False, True])
def test_c15_no_replay_changes_its_recording(  # noqa: PLR0917 - fixtures
    folders, poison, replayed, side, how, differs
):
    run = cases.recorded(folders, side, cases.asks_a_desk)
    (folder,) = folders.root.iterdir()
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    poison(extra_call=differs)
    assert replayed(run, **how).identical is not differs
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


# ---- C17: changed code


@each_side
def test_c17_changed_code_is_told_with_and_without_a_changed_call(
    folders, poison, module, replayed, side
):
    agent = module(side, "return [ask('one'), ask('two')]")
    run = wb.record(folders, agent, {"found": None})
    poison()
    assert replayed(run).identical
    other = replayed(run, module(side, "return [ask('one'), ask('three')]"))
    assert [found.kind for found in other.divergences] == ["code_changed", "request_changed"]
    assert other.divergences[1].seq == run.calls["seq"][1]
    same = replayed(run, module(side, "return [ask('one'), ask('two')]  # as before"))
    assert [found.kind for found in same.divergences] == ["code_changed"]
    assert not same.identical
