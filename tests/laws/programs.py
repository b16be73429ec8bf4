"""One agent that runs programs: calls one after the other, side by side, tried again, polled, streamed.

A program is JSON, ``{"parts": [part, …], "raises": bool}``, and the agent's input. A part is

- ``{"do": "seq", "parts": […]}`` or ``{"do": "par", "how": "threads", "parts": […]}``;
- one that calls: ``call``, ``fail``, ``retry``, ``poll`` or ``stream``, with the kind of the call,
  what it ``says``, which earlier values it ``uses``, and whether its value is ``shown`` at the end.

Outcomes are made while a program is recorded and at no other time: `world` is poisoned until then.
What a call read and what came before it is kept in ``world.made``, for tests to ask.
"""

import asyncio
import contextvars
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from langchain_core.messages import AIMessage

import workbench as wb

KINDS = ("tool", "model", "retriever", "planner", "validator", "safety")
HOWS = ("gather", "tasks", "threads", "executor")
TRIES = 4
_asked = contextvars.ContextVar("asked")
_waits = random.Random()


class Poisoned(BaseException):
    """Something was called that a recording should have answered."""


class Declined(Exception):
    """A call that failed."""

    def __init__(self, why, *, code=7):
        super().__init__(why)
        self.code = code


@dataclass(frozen=True)
class Made:
    """A call that was made: whose outcomes its request holds, and which calls came before it.

    ``decided`` are those calls whose outcomes made that there was one call more.
    """

    key: str
    do: str
    reads: frozenset[str]
    decided: frozenset[str]
    past: frozenset[str]


class World:
    """Where outcomes come from: each tells the key of its call, and is the same for one seed."""

    def __init__(self):
        self.seed, self.made, self.shown, self.lived = None, {}, frozenset(), 0

    def opened(self, seed):
        self.seed, self.made, self.shown, self.lived = seed, {}, frozenset(), 0

    def poisoned(self):
        self.seed = None

    def dice(self):
        """Every body of a call comes by here first."""
        self.lived += 1
        if self.seed is None:
            raise Poisoned("a call was made that a recording should have answered")
        return random.Random(f"{self.seed} {_asked.get()[0]}")

    def note(self, made):
        if self.seed is not None:
            self.made[made.key] = made

    def note_shown(self, values):
        if self.seed is not None:
            self.shown = frozenset().union(*(value.of for value in values))


world = World()


# ---- what is called


def _outcome(kind):
    key, part, attempt = _asked.get()
    dice = world.dice()
    text = f"«{key}» {dice.choice('abcdef')}"
    left = max(0, part.get("times", 1) - 1 - attempt)
    if part["do"] == "fail" or attempt < part.get("fails", 0):
        raise dice.choice([TimeoutError, ValueError, Declined])(text)
    if kind == "model":
        return AIMessage(text, response_metadata={"at": dice.randrange(100)})
    if kind == "retriever":
        return [text, dice.random()]
    return {"text": text, "left": left, "more": [dice.randrange(10), None, True]}


def _pieces():
    key, part, _ = _asked.get()
    dice = world.dice()
    for number in range(part["pieces"]):
        yield f"«{key}» {number}{dice.choice('abcdef')}"
    if part["breaks"]:
        raise Declined(f"«{key}» broke off")


def _pause():
    return _waits.random() * 0.001


def _functions(kind):
    """Return a function of a kind, its coroutine, its generator and its asynchronous generator."""
    decorate = getattr(wb, kind)(name=kind)

    @decorate
    def ask(request):
        time.sleep(_pause())
        return _outcome(kind)

    @decorate
    async def aask(request):
        await asyncio.sleep(_pause())
        return _outcome(kind)

    @decorate
    def stream(request):
        for piece in _pieces():
            time.sleep(_pause())
            yield piece

    @decorate
    async def astream(request):
        for piece in _pieces():
            await asyncio.sleep(_pause())
            yield piece

    return ask, aask, stream, astream


_OF_KIND = {kind: _functions(kind) for kind in KINDS}


# ---- what an interpreter wants done, here and on a loop


@dataclass(frozen=True)
class Ask:
    """Make one call."""

    asked: tuple
    request: dict

    def done(self):
        _asked.set(self.asked)
        return _OF_KIND[self.asked[1]["kind"]][0](self.request)

    async def awaited(self):
        _asked.set(self.asked)
        return await _OF_KIND[self.asked[1]["kind"]][1](self.request)


@dataclass(frozen=True)
class Read:
    """Read a stream, or the first pieces of it; an error of it is its last piece."""

    asked: tuple
    request: dict

    def done(self):
        _asked.set(self.asked)
        stream, found = _OF_KIND[self.asked[1]["kind"]][2](self.request), []
        try:
            for piece in stream:
                found.append(piece)
                if len(found) == self.asked[1]["take"]:
                    break
        except Exception as error:  # noqa: BLE001 - an agent that goes on
            found.append(told(error))
        stream.close()
        return found

    async def awaited(self):
        _asked.set(self.asked)
        stream, found = _OF_KIND[self.asked[1]["kind"]][3](self.request), []
        try:
            async for piece in stream:
                found.append(piece)
                if len(found) == self.asked[1]["take"]:
                    break
        except Exception as error:  # noqa: BLE001
            found.append(told(error))
        await stream.aclose()
        return found


@dataclass(frozen=True)
class Wait:
    """Sleep before another try."""

    def done(self):
        time.sleep(0.001)

    async def awaited(self):
        await asyncio.sleep(0.001)


@dataclass(frozen=True)
class Side:
    """Run several interpreters side by side."""

    how: str
    works: list

    def done(self):
        if self.how == "threads":
            return _in_threads(self.works)
        if self.how == "executor":
            with ThreadPoolExecutor(2) as pool:
                jobs = [pool.submit(drive, work) for work in self.works]
                return [job.result() for job in jobs]
        return asyncio.run(self.awaited())

    async def awaited(self):
        if self.how == "gather":
            return await asyncio.gather(*map(adrive, self.works))
        if self.how == "tasks":
            async with asyncio.TaskGroup() as group:
                made = [group.create_task(adrive(work)) for work in self.works]
            return [task.result() for task in made]
        if self.how == "threads":
            return await asyncio.gather(*(asyncio.to_thread(drive, work) for work in self.works))
        loop = asyncio.get_running_loop()
        return await asyncio.gather(
            *(loop.run_in_executor(None, drive, work) for work in self.works)
        )


def _in_threads(works):
    found, failed = {}, []

    def keep(number, work):
        try:
            found[number] = drive(work)
        except BaseException as error:  # noqa: BLE001 - raised again by whoever waits
            failed.append(error)

    threads = [threading.Thread(target=keep, args=one) for one in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    return [found[number] for number in range(len(works))]


def drive(steps):
    """Do what an interpreter wants done, here."""
    try:
        wanted = next(steps)
        while True:
            try:
                came = wanted.done()
            except Exception as error:  # noqa: BLE001 - it is the interpreter's
                wanted = steps.throw(error)
            else:
                wanted = steps.send(came)
    except StopIteration as done:
        return done.value


async def adrive(steps):
    """Do what an interpreter wants done, on the running loop."""
    try:
        wanted = next(steps)
        while True:
            try:
                came = await wanted.awaited()
            except Exception as error:  # noqa: BLE001
                wanted = steps.throw(error)
            else:
                wanted = steps.send(came)
    except StopIteration as done:
        return done.value


# ---- the interpreter


@dataclass(frozen=True)
class Value:
    """Something the agent has, and the keys of the calls it came of."""

    data: object
    of: frozenset[str]
    shown: bool


@dataclass
class Here:
    """What a branch of the program has seen, and the calls that came before where it stands."""

    seen: list[Value] = field(default_factory=list)
    past: frozenset[str] = frozenset()


def told(error):
    return [type(error).__name__, [str(item) for item in error.args], str(error)]


def play(part, key, here):
    """Interpret a part: give what is to be done, get what came of it."""
    if part["do"] == "seq":
        for number, inner in enumerate(part["parts"]):
            yield from play(inner, f"{key}.{number}", here)
    elif part["do"] == "par":
        yield from _side_by_side(part, key, here)
    else:
        here.seen.append((yield from _CALLS[part["do"]](part, key, here)))


def _side_by_side(part, key, here):
    branches = [Here([*here.seen], here.past) for _ in part["parts"]]
    works = [
        play(inner, f"{key}.{number}", branch)
        for number, (inner, branch) in enumerate(zip(part["parts"], branches, strict=True))
    ]
    before = len(here.seen)
    yield Side(part["how"], works)
    for branch in branches:
        here.seen.extend(branch.seen[before:])
        here.past |= branch.past


def _asking(part, key, here, *, attempt=0, told_of=(), decided=(), effect=Ask):
    """Make a call, whose request holds earlier values, and say what its key is."""
    used = [here.seen[at % len(here.seen)] for at in part["uses"]] if here.seen else []
    own, used = f"{key}#{attempt}", [*used, *told_of]
    request = {"says": part["says"], "given": [value.data for value in used]}
    reads = frozenset().union(*(value.of for value in used))
    world.note(Made(own, part["do"], reads, frozenset(decided), here.past))
    here.past |= {own}
    came = yield effect((own, part, attempt), request)
    return own, came


def _call(part, key, here):
    own, came = yield from _asking(part, key, here)
    return Value(came, frozenset({own}), part["shown"])


def _fail(part, key, here):
    try:
        own, came = yield from _asking(part, key, here)
    except Exception as error:  # noqa: BLE001 - of whatever class the call raised
        own, came = f"{key}#0", told(error)
    return Value(came, frozenset({own}), part["shown"])


def _retry(part, key, here):
    """Try until it works; what failed is told in the next request where the part ``tells``."""
    failures = []
    for attempt in range(TRIES):
        told_of = failures if part["tells"] else ()
        decided = [f"{key}#{number}" for number in range(attempt)]
        try:
            own, came = yield from _asking(
                part, key, here, attempt=attempt, told_of=told_of, decided=decided
            )
        except Exception as error:  # noqa: BLE001
            failures.append(Value(told(error), frozenset({f"{key}#{attempt}"}), shown=False))
            yield Wait()
        else:
            return Value(came, frozenset({own}), part["shown"])
    return Value("given up", frozenset(), part["shown"])


def is_waiting(answer):
    return isinstance(answer, dict) and answer.get("left") != 0


def _poll(part, key, here):
    """Ask the same until nothing is left."""
    for attempt in range(TRIES):
        decided = [f"{key}#{number}" for number in range(attempt)]
        own, came = yield from _asking(part, key, here, attempt=attempt, decided=decided)
        if not is_waiting(came):
            break
    return Value(came, frozenset({own}), part["shown"])


def _stream(part, key, here):
    own, came = yield from _asking(part, key, here, effect=Read)
    return Value(came, frozenset({own}), part["shown"])


_CALLS = {"call": _call, "fail": _fail, "retry": _retry, "poll": _poll, "stream": _stream}


# ---- the agent


def _program(given):
    here = Here()
    yield from play({"do": "seq", "parts": given["parts"]}, "p", here)
    shown = [value for value in here.seen if value.shown]
    world.note_shown(shown)
    if given["raises"]:
        raise RuntimeError(*(str(value.data) for value in shown))
    return [value.data for value in shown]


def run(given):
    """Run a program."""
    return drive(_program(given))


async def arun(given):
    """Run a program on a loop."""
    return await adrive(_program(given))
