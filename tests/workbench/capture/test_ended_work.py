"""Work that ends before its time: what it had called is recorded, and the agent goes on as it would."""

import asyncio
import threading
from concurrent.futures import CancelledError, ThreadPoolExecutor

import pytest
from lane_agents import aask, ask

import workbench as wb


@pytest.fixture(autouse=True)
def _world(world):
    """A world of its own for each test."""


@wb.call(effect="read")
async def forever():
    await asyncio.Event().wait()


@wb.call(effect="read")
def interrupted():
    raise KeyboardInterrupt


def calls(run):
    rows = run.calls.sort("lane", "ordinal").select("lane", "name", "status")
    return rows.rows()


def test_a_cancelled_task_has_a_cancelled_call(folders):
    async def agent(_):
        task = asyncio.create_task(forever())
        await aask("meanwhile")
        task.cancel()
        return [str(one) for one in await asyncio.gather(task, return_exceptions=True)]

    run = wb.record(folders, agent, None)
    assert run.status == "done"
    assert calls(run) == [("root", "aask", "ok"), ("root/1", "forever", "cancelled")]


def test_a_call_that_takes_too_long_is_cancelled_and_the_next_one_is_in_its_lane(folders):
    async def agent(_):
        try:
            await asyncio.wait_for(forever(), 0.01)
        except TimeoutError:
            return await aask("instead")

    run = wb.record(folders, agent, None)
    assert run.status == "done"
    assert calls(run) == [("root", "forever", "cancelled"), ("root", "aask", "ok")]


def test_tasks_that_nobody_awaits_are_recorded_as_far_as_they_came(folders):
    kept = []

    async def agent(_):
        kept.append(asyncio.create_task(forever()))
        kept.append(asyncio.create_task(aask("second")))
        await kept[1]
        kept.append(asyncio.create_task(aask("never begun")))

    run = wb.record(folders, agent, None)
    assert run.status == "done"
    assert calls(run) == [
        ("root/1", "forever", "cancelled"),
        ("root/2", "aask", "ok"),
        ("root/3", "aask", "cancelled"),
    ]


def test_a_group_that_fails_cancels_its_other_calls(folders):
    @wb.call(effect="read")
    async def fails():
        await asyncio.sleep(0)
        raise ValueError("no")

    async def agent(_):
        async with asyncio.TaskGroup() as group:
            group.create_task(forever())
            group.create_task(fails())

    run = wb.record(folders, agent, None)
    assert run.status == "failed"
    assert calls(run) == [("root/1", "forever", "cancelled"), ("root/2", "fails", "error")]


def test_an_interrupt_in_a_thread_is_recorded_and_stays_in_it(folders):
    def agent(_):
        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(interrupted)
            second = pool.submit(ask, "next")
            return [repr(first.exception()), second.result()["what"]]

    run = wb.record(folders, agent, None)
    assert run.status == "done"
    assert calls(run) == [("root/1", "interrupted", "cancelled"), ("root/2", "ask", "ok")]
    played = wb.replay(run, agent)
    assert played.identical, played.divergences


def test_an_executor_that_is_shut_down_leaves_what_had_begun(folders):
    def agent(_):
        begun, go_on = threading.Event(), threading.Event()

        def first():
            begun.set()
            go_on.wait(5)
            return ask("first")

        pool = ThreadPoolExecutor(1)
        jobs = [pool.submit(first), pool.submit(ask, "second"), pool.submit(ask, "third")]
        begun.wait(5)
        pool.shutdown(wait=False, cancel_futures=True)
        go_on.set()
        for job in jobs[1:]:
            with pytest.raises(CancelledError):
                job.result()
        return jobs[0].result()["what"]

    run = wb.record(folders, agent, None)
    assert calls(run) == [("root/1", "ask", "ok")]
    played = wb.replay(run, agent)
    assert played.identical, played.divergences


def test_a_replay_is_not_too_fast_for_a_shutdown(folders, world):
    """The second job had begun when the pool was shut down; in a replay it is still queued."""

    def agent(_):
        pool = ThreadPoolExecutor(1)
        jobs = [pool.submit(ask, number) for number in range(2)]
        if not world.poisoned:
            jobs[1].result()
        pool.shutdown(cancel_futures=True)
        return jobs[0].result()["what"]

    for _ in range(20):
        world.poisoned = False
        run = wb.record(folders, agent, None)
        assert calls(run) == [("root/1", "ask", "ok"), ("root/2", "ask", "ok")]
        world.poisoned = True
        played = wb.replay(run, agent)
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
