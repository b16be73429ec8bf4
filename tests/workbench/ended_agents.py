"""Agents whose work ends before its time: cancelled, out of time, let alone, shut down."""

import asyncio
import threading
from concurrent.futures import CancelledError, ThreadPoolExecutor

from lane_agents import aask, ask, world

import workbench as wb


@wb.call(effect="read")
async def forever():
    world.live("forever")
    await asyncio.Event().wait()


@wb.call(effect="read")
async def fails():
    world.live("fails")
    await asyncio.sleep(0)
    raise ValueError("no")


@wb.call(effect="read")
def interrupted():
    world.live("interrupted")
    raise KeyboardInterrupt


async def cancelled(_):
    task = asyncio.create_task(forever())
    await aask("meanwhile")
    task.cancel()
    return [str(one) for one in await asyncio.gather(task, return_exceptions=True)]


async def out_of_time(_):
    try:
        await asyncio.wait_for(forever(), 0.01)
    except TimeoutError:
        return await aask("instead")


async def never_awaited(_):
    kept = [asyncio.create_task(forever()), asyncio.create_task(aask("second"))]
    await kept[1]
    kept.append(asyncio.create_task(aask("never begun")))


async def a_group_that_fails(_):
    async with asyncio.TaskGroup() as group:
        group.create_task(forever())
        group.create_task(fails())


def interrupted_in_a_thread(_):
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(interrupted)
        second = pool.submit(ask, "next")
        return [repr(first.exception()), second.result()["what"]]


def shut_down(_):
    """An executor that is shut down while one job runs and two wait."""
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
    found = [jobs[0].result()["what"]]
    for job in jobs[1:]:
        try:
            job.result()
        except CancelledError:
            found.append("cancelled")
    return found


def shut_down_in_a_hurry(_):
    """The second job had begun when the pool was shut down; in a replay it is still queued."""
    pool = ThreadPoolExecutor(1)
    jobs = [pool.submit(ask, number) for number in range(2)]
    if not world.poisoned:
        jobs[1].result()
    pool.shutdown(cancel_futures=True)
    return jobs[0].result()["what"]


ALL = (
    cancelled,
    out_of_time,
    never_awaited,
    a_group_that_fails,
    interrupted_in_a_thread,
    shut_down,
    shut_down_in_a_hurry,
)
