"""The cases once more, each replayed in a process without any network, in which the world is poisoned.

``WORKBENCH_REPEAT_ISOLATED`` says how often a case is recorded and replayed where order matters: a
child costs about a second.
"""

import os

import conformance_agents as cases
import pytest
import replay_agents as agents

import workbench as wb
from workbench.replay import isolation

pytestmark = pytest.mark.skipif(not isolation.possible(), reason="no network namespace here")
TIMES = int(os.environ.get("WORKBENCH_REPEAT_ISOLATED") or 2)
each_side = pytest.mark.parametrize("side", ["plain", "graph"])


def replayed(run, agent=None, **options):
    result = wb.replay(run, agent, isolate=True, **options)
    assert result.certificate["strength"] == "isolated"
    assert result.lost == []
    return result


def first(result):
    assert not result.identical
    assert result.run.status == "diverged"
    return result.divergences[0]


def consumed(result):
    return result.certificate["calls"]["consumed"]


@each_side
@pytest.mark.parametrize(
    "work", cases.WORKS[:4], ids=["c1_tasks", "c1_threads", "c2_chains", "c3_threads"]
)
def test_c1_c2_c3_each_of_several_at_once_gets_its_own_answer(folders, poison, side, work):
    runs = [cases.recorded(folders, side, work) for _ in range(TIMES)]
    poison()
    for run in runs:
        result = replayed(run)
        assert result.divergences == []
        assert result.identical
        assert result.output == run.output
        assert consumed(result) == run.calls.height


LIVE = "from workbench.replay import child, session; session.ReplaySession.answer = print; child.main()"


@each_side
def test_a_call_that_is_made_live_in_the_child_hits_the_poison(folders, poison, monkeypatch, side):
    run = cases.recorded(folders, side, agents.different_in_threads)
    poison()
    monkeypatch.setattr(isolation, "_CHILD", ("-c", LIVE))
    result = wb.replay(run, isolate=True)
    assert not result.identical
    assert "ask was called live" in str(result.run.exception)


@each_side
def test_c4_one_extra_call_in_front_shifts_nothing(folders, poison, side):
    run = cases.recorded(folders, side, cases.asks_a_desk)
    poison(extra_call=True)
    result = replayed(run)
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
    folders, poison, side, changes, pointer
):
    run = cases.recorded(folders, side, cases.asks_a_desk)
    poison(**changes)
    result = replayed(run)
    found = first(result)
    assert (found.kind, found.seq) == ("request_changed", run.calls["seq"][0])
    assert [change["pointer"] for change in found.changes] == [pointer]
    assert consumed(result) == 0


@each_side
@pytest.mark.parametrize("work", [cases.asks_by_id, cases.asks_by_time])
def test_c6_a_volatile_prompt_is_told_apart_from_another_one(folders, poison, side, work):
    run = cases.recorded(folders, side, work)
    poison()
    result = replayed(run)
    found = first(result)
    assert (found.kind, found.seq) == ("nondeterminism", run.calls["seq"][0])
    assert "/arguments/what" in found.fix
    assert consumed(result) == 0


@each_side
def test_c13_every_attempt_is_a_call_and_a_failure_keeps_its_class(folders, poison, side):
    run = cases.recorded(folders, side, cases.tries_again)
    assert run.calls["status"].to_list() == ["error", "error", "ok"]
    poison()
    result = replayed(run)
    assert result.identical
    assert result.output == run.output
    assert result.run.calls["status"].to_list() == ["error", "error", "ok"]


@each_side
@pytest.mark.parametrize("how", [{}, {"mode": "cached", "collect": True}], ids=["exact", "all"])
@pytest.mark.parametrize("differs", [False, True])
def test_c15_no_replay_changes_its_recording(folders, poison, side, how, differs):
    run = cases.recorded(folders, side, cases.asks_a_desk)
    (folder,) = folders.root.iterdir()
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    poison(extra_call=differs)
    assert replayed(run, **how).identical is not differs
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@each_side
def test_c17_changed_code_is_told_with_and_without_a_changed_call(folders, poison, module, side):
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
