"""Agents whose outcome depends on the order in which calls that run side by side come back."""

import asyncio
import contextlib
import functools
import random
import threading
import time
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, as_completed, wait
from pathlib import Path

import replay_agents as agents
from langgraph.graph import START, MessagesState, StateGraph

import workbench as wb

world = agents.world
# an agent's own pause, which a replay does not skip
really = time.sleep


class Waiting:
    """One live call at the gate, and in which thread."""

    def __init__(self):
        self.thread = threading.get_native_id()


class Gate:
    """Lets one of the live calls that are open go on at a time, any of them.

    The next one goes when what follows from the last has happened: so the order in which calls end
    decides the outcome, and a recording holds all of it.
    """

    def __init__(self):
        self.lock = threading.Lock()
        self.waiting, self.chosen, self.looks = [], None, 0

    def threads(self):
        """Return who waits here: each looks again and again."""
        with self.lock:
            return {one.thread for one in self.waiting}

    def enter(self):
        one = Waiting()
        with self.lock:
            self.waiting.append(one)
            self.looks = 0
        return one

    def opens(self, one, *, patience, busy=False):
        with self.lock:
            if self.chosen is None and one is self.waiting[0]:
                self.looks = 0 if busy else self.looks + 1
                if self.looks > patience:
                    self.chosen = random.choice(self.waiting)
            return self.chosen is one

    def leave(self, one):
        with self.lock:
            self.waiting.remove(one)
            self.looks = 0
            if self.chosen is one:
                self.chosen = None


gate = Gate()


def pause():
    one = gate.enter()
    while not gate.opens(one, patience=8, busy=others_run()):
        really(0.001)
    gate.leave(one)


def others_run():
    """Say whether another thread of this process goes on, or would if the machine let it."""
    waiting = gate.threads()
    for task in Path("/proc/self/task").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            state = (task / "stat").read_text().rpartition(")")[2].split()[0]
            if state == "R" and int(task.name) not in waiting:
                return True
    return False


async def apause():
    one = gate.enter()
    try:
        while not gate.opens(one, patience=40):  # noqa: ASYNC110 - the loop must turn meanwhile
            await asyncio.sleep(0)
    finally:
        gate.leave(one)


@wb.call(effect="read")
def ask(what):
    pause()
    return {"what": what, "answer": world.live("ask")}


@wb.call(effect="read")
async def aask(what):
    await apause()
    return {"what": what, "answer": world.live("aask")}


@wb.call(effect="read")
async def fail(what):
    await apause()
    world.live("fail")
    raise ValueError(what)


@wb.call(effect="read")
async def forever(what):
    world.live("forever")
    await asyncio.sleep(3600)
    return what


@wb.call(effect="read")
async def apieces(what):
    for number in range(3):
        await apause()
        yield f"{what} {number} {world.live('apieces')}"


@wb.call(effect="read")
def pieces(what):
    for number in range(3):
        pause()
        yield f"{what} {number} {world.live('pieces')}"


# ---- tasks


async def as_they_come(_):
    coming = asyncio.as_completed([aask(number) for number in range(4)])
    return [(await one)["what"] for one in coming]


async def first_of_them(_):
    """Whoever comes first decides what is asked next; the others are cancelled."""
    tasks = [asyncio.create_task(aask(number)) for number in range(3)]
    done, rest = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)
    won = sorted(task.result()["what"] for task in done)
    return [await aask({"after": won})]


async def into_a_list(_):
    found = []

    async def keep(number):
        found.append((await aask(number))["what"])
        found.append((await aask(-number))["what"])

    await asyncio.gather(*(keep(number) for number in range(1, 4)))
    return found


async def two_at_a_time(_):
    """A semaphore: who enters next is decided by who left."""
    found, two = [], asyncio.Semaphore(2)

    async def keep(number):
        async with two:
            found.append((await aask(number))["what"])

    await asyncio.gather(*(keep(number) for number in range(5)))
    return found


async def nested(_):
    found = []

    async def pair(number):
        both = await asyncio.gather(aask(f"{number}a"), aask(f"{number}b"))
        found.append([one["what"] for one in both])
        found.append((await aask(f"{number} together"))["what"])

    await asyncio.gather(*(pair(number) for number in range(3)))
    return found


async def waiting_for_another(_):
    """One call is asked only when another's result is there."""
    came = asyncio.get_running_loop().create_future()

    async def first():
        came.set_result(await aask("first"))

    async def second():
        beside = asyncio.create_task(aask("beside"))
        given = await came
        return [await aask({"with": given["what"]}), await beside]

    _, found = await asyncio.gather(first(), second())
    return [one["what"]["with"] if isinstance(one["what"], dict) else one["what"] for one in found]


async def streams(_):
    found = []

    async def read(what):
        async for piece in apieces(what):
            last = piece
        found.append(last.split()[0])

    await asyncio.gather(*(read(what) for what in "abc"))
    return found


async def from_threads(_):
    found = []

    async def keep(number):
        found.append((await asyncio.to_thread(ask, number))["what"])

    await asyncio.gather(*(keep(number) for number in range(4)))
    return found


async def polling(_):
    """How often is asked depends on when another call comes back."""
    done, polls = False, []

    async def work():
        nonlocal done
        await aask("job")
        await aask("the rest of it")
        done = True

    task = asyncio.create_task(work())
    while not done:
        polls.append(await aask("done?"))
    await task
    return len(polls)


# ---- threads


def executor_as_completed(_):
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(ask, number) for number in range(4)]
        return [job.result()["what"] for job in as_completed(jobs)]


def executor_first(_):
    with ThreadPoolExecutor(3) as pool:
        jobs = [pool.submit(ask, number) for number in range(3)]
        done, _ = wait(jobs, return_when=FIRST_COMPLETED)
        return ask({"after": sorted(job.result()["what"] for job in done)})["what"]


def threads_into_a_list(_):
    found = []

    def keep(number):
        found.append(ask(number)["what"])
        found.append(ask(-number)["what"])

    threads = [threading.Thread(target=keep, args=(number,)) for number in range(1, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def streams_in_threads(_):
    found = []

    def read(what):
        *_, last = pieces(what)
        found.append(last.split()[0])

    threads = [threading.Thread(target=read, args=(what,)) for what in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def pool_of_one(_):
    with ThreadPoolExecutor(1) as pool:
        jobs = [pool.submit(ask, number) for number in range(4)]
        return [job.result()["what"] for job in as_completed(jobs)]


def pool_of_two_with_chains(_):
    found = []

    def chain(number):
        found.append(ask(number)["what"])
        found.append(ask(number * 10)["what"])

    with ThreadPoolExecutor(2) as pool:
        for job in [pool.submit(chain, number) for number in range(1, 5)]:
            job.result()
    return found


def joined_in_the_way(_):
    """The root waits for a thread before it asks itself."""
    found = []
    first = threading.Thread(target=lambda: found.append(ask("thread")["what"]))
    second = threading.Thread(target=lambda: found.append(ask("other thread")["what"]))
    first.start()
    second.start()
    first.join()
    found.append(ask("root")["what"])
    second.join()
    return found


# ---- LangGraph


class State(MessagesState):
    pass


def _node(name, state):
    ask(name)
    return {}


async def _anode(name, state):
    await aask(name)
    return {}


def _graph(node):
    graph = StateGraph(State)
    for name in "abcd":
        graph.add_node(name, functools.partial(node, name))
        graph.add_edge(START, name)
    return graph.compile()


branches, abranches = _graph(_node), _graph(_anode)


def branches_as_they_end(_):
    given = branches.stream({"messages": []}, stream_mode="updates")
    return [next(iter(update)) for update in given]


async def abranches_as_they_end(_):
    given = abranches.astream({"messages": []}, stream_mode="updates")
    return [next(iter(update)) async for update in given]


# ---- where the recorded order cannot come about again


def lock_after_a_sleep(_):
    """Who takes the lock first was decided by a sleep, which a replay skips."""
    found, lock, there = [], threading.Lock(), threading.Event()

    def late():
        there.wait(5)
        time.sleep(0.05)
        with lock:
            found.append(ask("late")["what"])

    def early():
        if world.poisoned:  # as if the machine were busy
            there.set()
            really(0.03)
        with lock:
            there.set()
            time.sleep(0.02)
            found.append(ask("early")["what"])

    threads = [threading.Thread(target=late), threading.Thread(target=early)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(found)


# ---- being cancelled


async def cancelled_by_a_sibling(_):
    """A task group: one fails, and the others are cancelled in the middle of their calls."""
    seen, errors = [], []

    async def wait_for_it(number):
        try:
            await aask(number)
            await forever(number)
        except asyncio.CancelledError:
            seen.append(number)
            raise

    async def failing():
        await asyncio.sleep(0.02)
        await fail("no")

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(failing())
            for number in range(3):
                group.create_task(wait_for_it(number))
    except* ValueError as failed:
        errors = [str(one) for one in failed.exceptions]
    return [sorted(seen), errors]


def limit():
    """A time limit that nobody would wait for in a replay."""
    return 600 if world.poisoned else 0.05


async def out_of_time(_):
    try:
        return await asyncio.wait_for(forever("slow"), limit())
    except TimeoutError:
        return ["too late", (await aask("instead"))["what"]]


async def out_of_time_in_a_block(_):
    try:
        async with asyncio.timeout(limit()):
            first = await aask("first")
            await forever("slow")
    except TimeoutError:
        return ["too late", first["what"]]


async def cancelled_by_hand(_):
    task = asyncio.create_task(forever("x"))
    await aask("meanwhile")
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        return ["cancelled", task.cancelled()]


async def cancelled_after_its_answer_or_before(_):
    got = []

    async def work():
        got.append((await aask("work"))["what"])
        await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await aask("meanwhile")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return [got, task.cancelled()]


async def failed_before_others_began(_):
    """The others had asked when one failed; in a replay that is answered at once."""
    seen = []

    async def late(number):
        for _ in range(8):
            await asyncio.sleep(0)
        seen.append((await aask(number))["what"])

    async def failing():
        await asyncio.sleep(0.001)
        await aask("before")
        await fail("no")

    tasks = [asyncio.create_task(one) for one in (failing(), late(1), late(2))]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return sorted(seen)


# ---- the suite

ORDERED = (
    as_they_come,
    first_of_them,
    into_a_list,
    two_at_a_time,
    nested,
    waiting_for_another,
    streams,
    from_threads,
    polling,
    executor_as_completed,
    executor_first,
    threads_into_a_list,
    streams_in_threads,
    pool_of_one,
    pool_of_two_with_chains,
    joined_in_the_way,
    branches_as_they_end,
    abranches_as_they_end,
)
LOOSE = (
    cancelled_by_a_sibling,
    out_of_time,
    out_of_time_in_a_block,
    cancelled_by_hand,
    cancelled_after_its_answer_or_before,
    failed_before_others_began,
)
