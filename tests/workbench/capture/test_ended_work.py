"""Work that ends before its time: what it had called is recorded, and the agent goes on as it would."""

import threading

import ended_agents as agents
import pytest
from lane_agents import ask

import workbench as wb


@pytest.fixture(autouse=True)
def _world(world):
    """A world of its own for each test."""


def calls(run):
    rows = run.calls.sort("lane", "ordinal").select("lane", "name", "status")
    return rows.rows()


def test_a_cancelled_task_has_a_cancelled_call(folders):
    run = wb.record(folders, agents.cancelled, None)
    assert run.status == "done"
    assert calls(run) == [("root", "aask", "ok"), ("root/1", "forever", "cancelled")]


def test_a_call_that_takes_too_long_is_cancelled_and_the_next_one_is_in_its_lane(folders):
    run = wb.record(folders, agents.out_of_time, None)
    assert run.status == "done"
    assert calls(run) == [("root", "forever", "cancelled"), ("root", "aask", "ok")]


def test_tasks_that_nobody_awaits_are_recorded_as_far_as_they_came(folders):
    run = wb.record(folders, agents.never_awaited, None)
    assert run.status == "done"
    assert calls(run) == [
        ("root/1", "forever", "cancelled"),
        ("root/2", "aask", "ok"),
        ("root/3", "aask", "cancelled"),
    ]


def test_a_group_that_fails_cancels_its_other_calls(folders):
    run = wb.record(folders, agents.a_group_that_fails, None)
    assert run.status == "failed"
    assert calls(run) == [("root/1", "forever", "cancelled"), ("root/2", "fails", "error")]


def test_an_interrupt_in_a_thread_is_recorded_and_stays_in_it(folders):
    run = wb.record(folders, agents.interrupted_in_a_thread, None)
    assert run.status == "done"
    assert calls(run) == [("root/1", "interrupted", "cancelled"), ("root/2", "ask", "ok")]


def test_an_executor_that_is_shut_down_leaves_what_had_begun(folders):
    run = wb.record(folders, agents.shut_down, None)
    assert calls(run) == [("root/1", "ask", "ok")]
    assert run.output == ["first", "cancelled", "cancelled"]


def test_a_replay_is_not_too_fast_for_a_shutdown(folders, world):
    for _ in range(20):
        world.poisoned = False
        run = wb.record(folders, agents.shut_down_in_a_hurry, None)
        assert calls(run) == [("root/1", "ask", "ok"), ("root/2", "ask", "ok")]
        world.poisoned = True
        played = wb.replay(run, agents.shut_down_in_a_hurry)
        assert played.identical, played.divergences


def test_a_thread_that_outlives_its_recording_is_let_alone(folders):
    done, over = threading.Event(), threading.Event()

    def late():
        over.wait(5)
        ask("after the end")
        done.set()

    def agent(_):
        threading.Thread(target=late).start()
        return ask("in time")["what"]

    run = wb.record(folders, agent, None)
    over.set()
    assert done.wait(5)
    assert calls(run) == [("root", "ask", "ok")]
