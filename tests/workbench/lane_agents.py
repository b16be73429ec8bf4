"""Agents whose calls run side by side, in every way plain Python has, with random sleeps in all."""

import _thread
import asyncio
import contextvars
import functools
import itertools
import queue
import random
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import anyio
import replay_agents as agents

import workbench as wb

world = agents.world


@wb.call(effect="read")
def ask(what):
    time.sleep(random.random() * 0.002)
    return {"what": what, "answer": world.live("ask")}


@wb.call(effect="read")
async def aask(what):
    await asyncio.sleep(random.random() * 0.002)
    return {"what": what, "answer": world.live("aask")}


@wb.call(effect="read")
def pieces(many):
    for number in range(many):
        time.sleep(random.random() * 0.001)
        yield f"{number} {world.live('pieces')}"


@wb.call(effect="read")
async def apieces(many):
    for number in range(many):
        await asyncio.sleep(random.random() * 0.001)
        yield f"{number} {world.live('apieces')}"


def several(*works):
    """Run each in a thread of its own, and return what they gave, in their order."""
    found = {}

    def keep(number, work):
        found[number] = work()

    threads = [threading.Thread(target=keep, args=one) for one in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [found[number] for number in range(len(works))]


# ---- one after the other


def in_order(_):
    return [ask("first"), ask("second"), ask("first")]


async def in_order_async(_):
    return [await aask("first"), ask("between"), await aask("first")]


def in_a_copied_context(_):
    context = contextvars.copy_context()
    return [ask("here"), context.run(ask, "there"), ask("here"), context.run(ask, "there")]


# ---- tasks


async def gathered(_):
    return await asyncio.gather(*(aask("same") for _ in range(4)))


async def chains(_):
    async def chain(start):
        first = await aask(start)
        second = await aask(first["answer"] % 2)
        return await aask([second["answer"], "end"])

    return await asyncio.gather(*(chain("same") for _ in range(4)))


async def grouped(_):
    async with asyncio.TaskGroup() as group:
        made = [group.create_task(aask(number % 2)) for number in range(4)]
    return [task.result() for task in made]


async def awaited_backwards(_):
    made = [asyncio.create_task(aask(number)) for number in range(4)]
    await aask("meanwhile")
    return [await task for task in reversed(made)]


async def as_they_come(_):
    coming = asyncio.as_completed([aask(number) for number in range(4)])
    found = [await one for one in coming]
    return sorted(found, key=lambda one: one["what"])


async def in_time(_):
    async def two(name):
        return [await asyncio.wait_for(aask(name), 5), await aask(name)]

    async with asyncio.timeout(5):
        return await asyncio.gather(two("a"), two("b"), asyncio.wait_for(aask("c"), 5))


async def shielded(_):
    done, _ = await asyncio.wait([asyncio.ensure_future(aask(i)) for i in range(3)])
    kept = await asyncio.gather(*(asyncio.shield(aask("kept")) for _ in range(2)))
    return [sorted(task.result()["what"] for task in done), kept]


async def tasks_in_tasks(_):
    async def nested(number):
        return await asyncio.gather(*(aask(number) for _ in range(2)), chains(None))

    return await asyncio.gather(*(nested(number) for number in range(2)))


async def in_one_context(_):
    loop, context = asyncio.get_running_loop(), contextvars.copy_context()
    return await asyncio.gather(
        *(loop.create_task(two(number), context=context) for number in range(3))
    )


async def two(number):
    return [await aask(number), await aask("same")]


async def by_its_own_factory(_):
    """A factory as they were written before tasks took a context."""
    asyncio.get_running_loop().set_task_factory(lambda loop, coro: asyncio.Task(coro, loop=loop))
    return await asyncio.gather(*(two("same") for _ in range(3)), gathered(None))


async def eager(_):
    asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
    return await asyncio.gather(*(two("same") for _ in range(3)), gathered(None))


def with_a_runner(_):
    with asyncio.Runner() as runner:
        return [runner.run(gathered(None)), ask("between"), runner.run(two("b"))]


def runners_in_threads(_):
    with asyncio.Runner() as runner:
        runner.get_loop()  # its context is that of this thread
        found = several(lambda: runner.run(two("a")), lambda: asyncio.run(gathered(None)))
        return [found, runner.run(two("c"))]


async def in_a_group_of_anyio(_):
    found = {}

    async def keep(number, how, *given):
        found[number] = await how(*given)

    async with anyio.create_task_group() as group:
        for number in range(3):
            group.start_soon(keep, number, two, "same")
        for number in range(3, 6):
            group.start_soon(keep, number, anyio.to_thread.run_sync, in_order, None)
    return [found[number] for number in range(6)]


# ---- threads


def mapped(_):
    with ThreadPoolExecutor(3) as pool:
        return list(pool.map(ask, ["a", "b", "c", "d", "a"]))


def submitted(_):
    with ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(in_order, None) for _ in range(4)]
        return [job.result() for job in reversed(jobs)]


class Asking(threading.Thread):
    def __init__(self):
        super().__init__()
        self.found = []

    def run(self):
        self.found = in_order(None)


class Starting(Asking):
    def start(self):
        super().start()
        return self


def in_threads(_):
    threads = [Asking(), Starting(), Asking()]
    timer = threading.Timer(0.001, in_order, [None])
    for thread in (*threads, timer):
        thread.start()
    ask("meanwhile")
    for thread in (*threads, timer):
        thread.join()
    return [thread.found for thread in threads]


def in_bare_threads(_):
    found, done = {}, [threading.Event() for _ in range(3)]

    def work(number):
        found[number] = in_order(None)
        done[number].set()

    for number in range(3):
        _thread.start_new_thread(work, (number,))
    return [event.wait(5) and found[number] for number, event in enumerate(done)]


def pools_in_pools(_):
    with ThreadPoolExecutor(3) as outer, ThreadPoolExecutor(3) as inner:

        def nested(number):
            return [job.result() for job in [inner.submit(ask, number) for _ in range(2)]]

        return list(outer.map(nested, range(3)))


def followed(_):
    """Jobs whose end calls once more."""
    found = {}
    with ThreadPoolExecutor(2) as pool:
        for number in range(4):
            job = pool.submit(ask, number)
            job.add_done_callback(lambda _, n=number: found.update({n: ask("done")}))
    return [found[number] for number in range(4)]


# ---- tasks and threads


async def threads_of_tasks(_):
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(2) as pool:
        return await asyncio.gather(
            *(asyncio.to_thread(in_order, None) for _ in range(2)),
            *(loop.run_in_executor(None, ask, "same") for _ in range(2)),
            *(loop.run_in_executor(pool, mapped, None) for _ in range(2)),
            asyncio.to_thread(several, lambda: ask("a"), lambda: ask("a")),
        )


def tasks_of_threads(_):
    return several(*(lambda: asyncio.run(gathered(None)) for _ in range(3)))


def handed_to_a_loop(_):
    """Coroutines that several threads give to the loop of another one."""
    loop = asyncio.new_event_loop()
    running = threading.Thread(target=loop.run_forever)
    running.start()

    def hand_over():
        made = [asyncio.run_coroutine_threadsafe(two("same"), loop) for _ in range(2)]
        return [future.result(5) for future in made]

    try:
        return several(hand_over, hand_over)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        running.join()
        loop.close()


# ---- queues


def workers(_):
    """Whoever is free takes the next job; what comes of it goes back by another queue."""
    jobs, results = queue.Queue(), queue.SimpleQueue()

    def work():
        while (job := jobs.get()) is not None:
            number, what = job
            again = functools.partial(ask, what)
            results.put((number, [ask(what), *several(again, again)]))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for job in enumerate(["a", "b", "a", "c", "a", "d"]):
        jobs.put(job)
    found = dict(results.get() for _ in range(6))
    ask("in the end")
    for _ in threads:
        jobs.put(None)
    for thread in threads:
        thread.join()
    return [found[number] for number in range(6)]


def a_line_of_workers(_):
    first, second, results = queue.Queue(), queue.LifoQueue(), queue.Queue()

    def work(coming, going):
        while (job := coming.get()) is not None:
            going.put((job[0], ask(job)))

    threads = [threading.Thread(target=work, args=(first, second)) for _ in range(2)]
    threads += [threading.Thread(target=work, args=(second, results)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for number in range(5):
        first.put((number, "job"))
    found = sorted((results.get() for _ in range(5)), key=lambda one: one[0])
    for line in (first, second):
        for _ in range(2):
            line.put(None)
    for thread in threads:
        thread.join()
    return [ask("in the end"), found]


async def workers_of_tasks(_):
    jobs, found = asyncio.Queue(), {}

    async def work():
        while True:
            number = await asyncio.wait_for(jobs.get(), 5)
            found[number] = await two(number)
            jobs.task_done()

    working = [asyncio.create_task(work()) for _ in range(3)]
    for number in range(6):
        await jobs.put(number)
    await jobs.join()
    for task in working:
        task.cancel()
    return [found[number] for number in range(6)]


# ---- iterators that go from hand to hand


def iterators_in_threads(_):
    """One is begun where it was made and one elsewhere; both are read on elsewhere."""
    here, there = pieces(3), pieces(2)
    begun = [next(here)]
    found = several(lambda: [*there], lambda: [*here])
    return [begun, found, ask("after")]


async def iterators_in_tasks(_):
    async def read(given):
        return [piece async for piece in given]

    made = [apieces(number) for number in (1, 2, 3)]
    return await asyncio.gather(*map(read, made), aask("beside"))


def a_generator_that_asks(_):
    """What it asks belongs to whoever reads it then."""

    def asking():
        for number in itertools.count():
            yield ask(number)

    given = asking()
    first = next(given)
    return [first, *several(lambda: [next(given), ask("own")]), next(given)]


# ---- failures


def retried(_):
    found = []
    for name in ("a", "b"):
        while True:
            try:
                found.append(agents.flaky(name))
                break
            except TimeoutError:
                time.sleep(0.001)
    return found


async def retried_side_by_side(_):
    tries = {}

    @wb.call(effect="read", name="gateway")
    async def gateway(name):
        await asyncio.sleep(random.random() * 0.002)
        world.live("gateway")
        tries[name] = tries.get(name, 0) + 1
        if tries[name] < 3:
            raise ConnectionResetError(f"{name}, attempt {tries[name]}")
        return name

    async def retry(name):
        for _ in range(5):
            try:
                return await gateway(name)
            except ConnectionResetError:
                await asyncio.sleep(0.001)
        return None

    return await asyncio.gather(*(retry(name) for name in "abc"))


# ---- what nobody can order


async def called_back(_):
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    loop.call_later(0.001, lambda: (ask("later"), done.set()))
    await aask("now")
    await done.wait()


async def called_back_at_the_end(_):
    done = asyncio.Event()
    task = asyncio.create_task(aask("task"))
    task.add_done_callback(lambda _: (ask("there"), done.set()))
    await done.wait()


async def tasks_of_a_callback(_):
    loop = asyncio.get_running_loop()
    made = loop.create_future()
    loop.call_later(0.001, lambda: made.set_result(asyncio.create_task(aask("later"))))
    await aask("now")
    await (await made)


def begun_by_a_pool(_):
    with ThreadPoolExecutor(1, initializer=ask, initargs=("begin",)) as pool:
        return pool.submit(ask, "job").result()


# ---- the suite

ALL = (
    in_order,
    in_order_async,
    in_a_copied_context,
    gathered,
    chains,
    grouped,
    awaited_backwards,
    as_they_come,
    in_time,
    shielded,
    tasks_in_tasks,
    in_one_context,
    by_its_own_factory,
    *([eager] if sys.version_info >= (3, 12) else []),
    with_a_runner,
    runners_in_threads,
    in_a_group_of_anyio,
    mapped,
    submitted,
    in_threads,
    in_bare_threads,
    pools_in_pools,
    followed,
    threads_of_tasks,
    tasks_of_threads,
    handed_to_a_loop,
    workers,
    a_line_of_workers,
    workers_of_tasks,
    iterators_in_threads,
    iterators_in_tasks,
    a_generator_that_asks,
    retried,
    retried_side_by_side,
)
BESIDE = (called_back, called_back_at_the_end, tasks_of_a_callback, begun_by_a_pool)
