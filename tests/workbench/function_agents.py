"""Functions of every sort as calls, and agents that use them: each body comes by the world."""

import asyncio
import contextlib
import functools

from replay_agents import world

import workbench as wb


def functions(live):
    @wb.model
    def ask(prompt, *, heat=0.5):
        return {"said": prompt, "n": live("ask"), "heat": heat}

    @wb.tool(effect="read", name="fetch")
    async def get(order, /, depth=1, *lines, **rest):
        await asyncio.sleep(0)
        return [order, depth, lines, rest, live("get")]

    @wb.validator
    def is_short(text):
        live("is_short")
        return len(text) < 10

    @wb.safety
    def fails(text):
        raise PermissionError(f"no {text} {live('fails')}")

    def three(a, b, c=3):
        return [a, b, c, live("three")]

    return {
        "ask": ask,
        "get": get,
        "is_short": is_short,
        "fails": fails,
        "partial": wb.tool(functools.partial(three, "first", c=9)),
        "twice": wb.model(wb.tool(three)),
    }


def generators(live):
    @wb.retriever
    def pages(query):
        for word in query.split():
            yield f"{word} {live('pages')}"
        return "all"

    @wb.planner
    async def plan(goal):
        for number in range(3):
            await asyncio.sleep(0)
            yield {"goal": goal, "step": number, "n": live("plan")}

    return {"pages": pages, "plan": plan}


def methods(live):
    class Desk:
        def __init__(self, own):
            self.own = own

        @wb.tool
        def method(self, order):
            return [self.own, order, live("method")]

        @wb.tool
        @classmethod
        def outer_class(cls, order):
            return [cls.__name__, order, live("outer_class")]

        @classmethod
        @wb.tool
        def inner_class(cls, order):
            return [cls.__name__, order, live("inner_class")]

        @wb.tool
        @staticmethod
        def static(order, *, n=2):
            return [order, n, live("static")]

    class Caller:
        async def __call__(self, order):
            return [order, live("caller")]

    return {"desk": Desk("own"), "caller": wb.tool(Caller())}


class Parts:
    """Functions of every sort over one world, so that each test has its own."""

    def __init__(self, world):
        live = world.live
        vars(self).update(functions(live) | generators(live) | methods(live))

    async def all_of_them(self):
        found = [self.ask("hi", heat=1), await self.get("A1", 2, 3, 4, also=True), []]
        found.append(list(self.pages("one two")))
        found.append([piece async for piece in self.plan("rest")])
        found.append(self.is_short("short"))
        with contextlib.suppress(PermissionError):
            self.fails("way")
        found += [self.desk.method("M"), self.desk.outer_class("O"), self.desk.inner_class("I")]
        found += [self.desk.static("S", n=4), await self.caller("C"), self.partial("second")]
        return [*found, self.twice(1, b=2)]


parts = Parts(world)


async def of_all_sorts(_):
    return await parts.all_of_them()


def decorated_twice(_):
    return list(wb.planner(parts.pages)("one two"))


def called_wrongly(_):
    """Arguments that do not fit, to functions of every sort; return what Python says."""
    said = []
    for wrong in (
        parts.ask,
        lambda: parts.ask("a", "b"),
        lambda: parts.ask("a", cold=1),
        lambda: parts.pages("a", query="b"),
        parts.plan,
        lambda: asyncio.run(parts.get()),
        parts.desk.method,
    ):
        try:
            wrong()
        except TypeError as error:
            said.append(str(error).rpartition(".")[2])
    return said


def with_client(function):
    @functools.wraps(function)
    def given(order):
        return function("client", order)

    return given


@wb.tool
@with_client
def look_up(client, order):
    return [client, order, world.live("look_up")]


def through_a_wrapper(_):
    return look_up("A1")


def returned_by_a_generator(_):
    def reader():
        return [(yield from parts.pages("one two")), "read"]

    live = reader()
    pieces = []
    while True:
        try:
            pieces.append(next(live))
        except StopIteration as done:
            return [pieces, done.value]


@wb.tool(effect="read")
def many():
    yield from (world.live("many") for _ in range(9))


@wb.tool(effect="read")
def nothing():
    world.live("nothing")
    yield from ()


@wb.tool(effect="read")
def broken():
    world.live("broken")
    raise KeyError("at once")
    yield


@wb.tool(effect="read")
async def abroken():
    world.live("abroken")
    yield 1
    raise KeyError("later")


async def _aread():
    return [piece async for piece in abroken()]


def left_and_broken_generators(_):
    """Generators that are left, that give nothing, fail at once, fail later, and are thrown at."""
    found = [next(many()), list(nothing())]
    for failing in (lambda: list(broken()), lambda: asyncio.run(_aread())):
        try:
            failing()
        except KeyError as error:
            found.append(str(error))
    thrown = many()
    next(thrown)
    try:
        thrown.throw(OSError("mine"))
    except OSError as error:
        found.append(str(error))
    return found


left = []
"""By what the generators that talk with their reader were left."""


@wb.tool(effect="read")
def talk(start):
    said = start
    try:
        while True:
            try:
                said = yield f"said {said}"
            except ValueError as error:
                said = f"caught {error}"
    finally:
        left.append(said)


@wb.tool(effect="read")
async def atalk(start):
    said = start
    try:
        while True:
            try:
                said = yield f"said {said}"
            except ValueError as error:
                said = f"caught {error}"
    finally:
        left.append(said)


def talked_with(_):
    """What is sent into generators and thrown at them: no recording holds it."""

    def bare():
        live = talk("a")
        said = [next(live), live.send("b"), live.throw(ValueError("c")), next(live)]
        live.close()
        return said

    async def abare():
        live = atalk("a")
        said = [await anext(live), await live.asend("b"), await live.athrow(ValueError("c"))]
        await live.aclose()
        return said

    return [bare(), asyncio.run(abare())]


ALL = (
    of_all_sorts,
    decorated_twice,
    called_wrongly,
    through_a_wrapper,
    returned_by_a_generator,
    left_and_broken_generators,
)
