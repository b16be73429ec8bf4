"""Agents that pass odd values around, and exceptions that are as odd."""

import asyncio
import contextlib
import json
import threading

import odd
from replay_agents import world

import workbench as wb

given_back = {}


@wb.call(effect="read")
def give(name):
    world.live("give")
    return odd.KEPT[name]()


@wb.call(effect="read")
def look(prompt):
    world.live("look")
    return len(prompt)


def giving(names):
    """Go through every outcome as agents do: by its text, its order and its type."""
    found = [give(name) for name in names]
    given_back.setdefault("found", []).append(found)
    return look(json.dumps([[type(one).__name__, repr(one)[:100]] for one in found]))


@wb.call(effect="read")
def take(value, note=None):
    world.live("take")
    return value


def taking(names):
    for name in names:
        value = odd.LOST[name]()
        if take(value, note=name) is not value:
            raise AssertionError("the agent was given something else")
    return len(names)


def stepping(_):
    return [json.loads(json.dumps(piece)) for piece in pieces()]


@wb.call(effect="read")
def pieces():
    world.live("pieces")
    state = {"n": 0, "seen": []}
    for n in range(3):
        state["n"] = n
        state["seen"].append(n)
        yield state


def changing(_):
    basket = {"items": [1], "inner": {"a": (1, 2)}}

    @wb.call(effect="read")
    def spoil(given):
        world.live("spoil")
        given["items"].append("during")
        given["inner"].clear()
        return given

    came = spoil(basket)
    came["items"].append("after")


# ---- exceptions


class Status(Exception):
    """As providers' errors are: it wants other arguments than it keeps."""

    def __init__(self, text, *, status, response):
        super().__init__(text)
        self.status = status
        self.response = response


class Unprintable(Exception):
    def __str__(self):
        raise RuntimeError("no")

    __repr__ = __str__


class Made(Exception):
    def __new__(cls, one, two):
        return super().__new__(cls, one, two)


class OwnArgs(Exception):
    @property
    def args(self):
        raise RuntimeError("mine")


def _caused(error, cause):
    error.__cause__ = cause
    return error


def _noted():
    error = ValueError("a")
    error.add_note("seen at noon")
    return error


ERRORS = {
    "other arguments": lambda: Status("busy", status=429, response=threading.Lock()),
    "own __new__": lambda: Made(1, 2),
    "broken text": lambda: ValueError("\ud800", {"k": (1,)}),
    "group": lambda: ExceptionGroup("two", [ValueError(1), ExceptionGroup("in", [KeyError("k")])]),
    "base group": lambda: BaseExceptionGroup("b", [asyncio.CancelledError("c")]),
    "file": lambda: FileNotFoundError(2, "No such file", "/x"),
    "decoding": lambda: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
    "import": lambda: ImportError("no", name="mod", path="/p"),
    "key": lambda: KeyError("k"),
    "exit": lambda: SystemExit(3),
    "stop": lambda: StopIteration({"v": 1}),
    "stop async": lambda: StopAsyncIteration(1),
    "generator exit": lambda: GeneratorExit("x"),
    "chained": lambda: _caused(ValueError("outer"), Status("inner", status=500, response=None)),
    "noted": _noted,
    "timeout": TimeoutError,
}


def made(name):
    return ERRORS[name]()


@wb.call(effect="read")
def fail(name):
    world.live("fail")
    raise made(name)


@wb.call(effect="read")
async def afail(name):
    world.live("afail")
    raise made(name)


def failing(names):
    seen = []
    for name in names:
        try:
            fail(name)
        except BaseException as error:  # noqa: BLE001
            seen.append([type(error).__name__, getattr(error, "status", None), str(error.args)])
    return look(json.dumps(seen)), seen


async def afailing(names):
    seen = []
    for name in names:
        try:
            await afail(name)
        except BaseException as error:  # noqa: BLE001
            seen.append([type(error).__name__, str(error.args)])
    return seen


# ---- others


@wb.call(effect="read")
async def linger():
    world.live("linger")
    await asyncio.sleep(60)


async def cancelling(_):
    task = asyncio.create_task(linger())
    await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    try:
        await asyncio.wait_for(linger(), 0.001)
    except TimeoutError:
        return "late"


def naming(names):
    for name in names:
        wb.call(name=name, effect="read")(lambda _: world.live("named"))(1)
    return len(names)


def large(size):
    return len(take("x" * size)) + len(take([{"a": "y" * 1000}] * (size // 1000)))
