"""Functions of every sort are calls: recorded as they are called, and answered without running."""

import asyncio
import contextlib
import functools
import inspect

import pytest

import workbench as wb
from workbench import errors
from workbench.capture import RecordingWarning, callables
from workbench.schema import parse_body

# ---- one function of each sort; every body comes by the world, which can be poisoned


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


@pytest.fixture
def parts(world):
    return Parts(world)


def agent_of(parts):
    async def agent(_):
        return await parts.all_of_them()

    return agent


def replayed(run, agent, **options):
    result = wb.replay(run, agent, **options)
    assert result.divergences == []
    assert result.identical
    assert set(result.matches["match_level"]) <= {"exact"}
    return result


def requests_of(run):
    return [parse_body(e).request["arguments"] for e in run.event_log() if is_start(e)]


def is_start(event):
    return event.event_type == "call_started"


def test_a_function_of_each_sort_is_recorded_read_back_and_replayed(folders, world, parts):
    run = wb.record(folders, agent_of(parts), None)
    assert run.status == "done", run.exception
    assert list(zip(run.calls["kind"], run.calls["name"], run.calls["effect"], strict=True)) == [
        ("model", "ask", "read"),
        ("tool", "fetch", "read"),
        ("retriever", "pages", "read"),
        ("planner", "plan", "read"),
        ("validator", "is_short", "pure"),
        ("safety", "fails", "pure"),
        ("tool", "method", "unknown"),
        ("tool", "outer_class", "unknown"),
        ("tool", "inner_class", "unknown"),
        ("tool", "static", "unknown"),
        ("tool", "Caller", "unknown"),
        ("tool", "three", "unknown"),
        ("model", "three", "read"),
    ]
    assert set(run.calls["quality"]) == {"full"}
    assert requests_of(run)[:2] == [
        {"prompt": "hi", "heat": 1},
        {
            "order": "A1",
            "depth": 2,
            "lines": {"$type": "tuple", "$value": [3, 4]},
            "rest": {"also": True},
        },
    ]
    assert requests_of(run)[6:] == [
        {"order": "M"},
        {"order": "O"},
        {"order": "I"},
        {"order": "S", "n": 4},
        {"order": "C"},
        {"a": "first", "b": "second", "c": 9},
        {"a": 1, "b": 2, "c": 3},
    ]
    calls, world.poisoned = world.calls, True
    replayed(run, agent_of(parts))
    assert world.calls == calls


def test_on_a_live_server_too(store, world, parts):
    run = store.run(wb.record(store, agent_of(parts), None).run_id)
    assert run.calls.height == 13
    world.poisoned = True
    assert replayed(run, agent_of(parts)).run.store is store


def test_outside_a_recording_a_function_is_itself(world, parts):
    assert asyncio.run(parts.all_of_them())[0] == {"said": "hi", "n": 1, "heat": 1}
    assert list(parts.pages("one")) == [f"one {world.calls}"]


def test_signatures_names_and_docs_are_kept(parts):
    assert (parts.ask.__name__, str(inspect.signature(parts.ask))) == (
        "ask",
        "(prompt, *, heat=0.5)",
    )
    assert str(inspect.signature(parts.get)) == "(order, /, depth=1, *lines, **rest)"
    assert inspect.iscoroutinefunction(parts.get)
    assert parts.partial.__name__ == "three"
    assert str(inspect.signature(parts.partial)) == "(b, *, c=9)"
    assert parts.caller.__name__ == "Caller"
    assert [callables.way_of(f) for f in (parts.ask, parts.get, parts.pages, parts.plan)] == [
        "call",
        "await",
        "stream",
        "astream",
    ]


def test_a_generator_is_decorated_twice_and_recorded_once(folders, world, parts):
    both = wb.planner(parts.pages)

    def agent(_):
        return list(both("one two"))

    run = wb.record(folders, agent, None)
    assert run.calls["kind"].to_list() == ["planner"]
    world.poisoned = True
    replayed(run, agent)


@pytest.mark.parametrize("wrong", ["look_up", 3, property(lambda _: 1)])
def test_what_cannot_be_called_is_refused_when_it_is_decorated(wrong):
    for decorate in (wb.tool, wb.call(kind="model"), wb.step("x")):
        with pytest.raises(errors.UsageError, match="only what can be called"):
            decorate(wrong)


# ---- arguments


def test_arguments_that_do_not_fit_raise_as_ever_and_leave_no_trace(folders, world, parts):
    def agent(_):
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
            with pytest.raises(TypeError) as raised:
                wrong()
            said.append(str(raised.value).rpartition(".")[2])
        return said

    run = wb.record(folders, agent, None)
    assert run.status == "done", run.exception
    assert run.output[0] == "ask() missing 1 required positional argument: 'prompt'"
    assert run.output[-1] == "method() missing 1 required positional argument: 'order'"
    assert run.calls.height == 0
    assert "capture_gap" not in [
        parse_body(e).label for e in run.event_log() if e.event_type == "annotated"
    ]
    world.poisoned = True
    replayed(run, agent)


def test_a_wrapper_that_adds_arguments_is_recorded_by_what_it_takes(folders, world):
    def with_client(function):
        @functools.wraps(function)
        def given(order):
            return function("client", order)

        return given

    @wb.tool
    @with_client
    def look_up(client, order):
        return [client, order, world.live("look_up")]

    run = wb.record(folders, look_up_agent := (lambda _: look_up("A1")), None)
    assert requests_of(run) == [
        {"args": {"$type": "tuple", "$value": ["A1"]}, "kwargs": {}},
    ]
    world.poisoned = True
    replayed(run, look_up_agent)


def test_an_argument_may_be_called_session_or_anything_else(folders, world):
    @wb.tool
    def named(session, args, describe, twin, _0=1):
        return [session, args, describe, twin, _0]

    run = wb.record(folders, lambda _: named(session=1, args=2, describe=3, twin=4), None)
    assert requests_of(run) == [{"session": 1, "args": 2, "describe": 3, "twin": 4, "_0": 1}]


def test_a_default_nobody_can_compare_is_no_part_of_the_request(folders, world):
    unlike_any = object()

    @wb.tool
    def look(order, marker=unlike_any):
        return order

    run = wb.record(folders, lambda _: look("A1"), None)
    assert requests_of(run) == [{"order": "A1"}]
    assert run.calls["quality"].to_list() == ["full"]


def test_a_request_is_what_it_was_when_the_function_was_called(folders, world):
    @wb.tool
    def add(items):
        items.append(2)
        return items

    def agent(_):
        items = add([1])
        items.append(3)
        return items

    run = wb.record(folders, agent, None)
    assert requests_of(run) == [{"items": [1]}]
    outcomes = [parse_body(e).outcome for e in run.event_log() if e.event_type == "call_ended"]
    assert outcomes == [{"value": [1, 2]}]


# ---- generators


def taking():
    """A generator that talks with its reader, and says what it was left by."""
    left = []

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

    return talk, atalk, left


def test_what_is_sent_and_thrown_reaches_a_generator_and_is_labelled(folders, world):
    talk, atalk, left = taking()

    def bare(talk):
        live = talk("a")
        said = [next(live), live.send("b"), live.throw(ValueError("c")), next(live)]
        live.close()
        return said

    async def abare(atalk):
        live = atalk("a")
        said = [await anext(live), await live.asend("b"), await live.athrow(ValueError("c"))]
        await live.aclose()
        return said

    def agent(_):
        return [bare(talk), asyncio.run(abare(atalk))]

    expected = [
        ["said a", "said b", "said caught c", "said None"],
        ["said a", "said b", "said caught c"],
    ]
    assert agent(None) == expected
    with pytest.warns(RecordingWarning, match="2 calls are lossy"):
        run = wb.record(folders, agent, None)
    assert run.output == expected
    assert left == [None, "caught c"] * 2
    assert run.calls["status"].to_list() == ["cancelled", "cancelled"]
    assert run.calls["quality"].to_list() == ["lossy", "lossy"]
    with pytest.raises(errors.RecordingIncomplete, match="lossy"):
        wb.replay(run, agent)


def test_what_was_sent_is_answered_in_a_cached_replay(folders, world):
    talk, _, left = taking()

    def agent(_):
        live = talk("a")
        return [next(live), live.send("b")]

    with pytest.warns(RecordingWarning, match="lossy"):
        run = wb.record(folders, agent, None)
    assert left == ["b"]
    assert wb.replay(run, agent, mode="cached").run.output == ["said a", "said b"]
    assert left == ["b"]


def test_a_generator_returns_what_it_returned(folders, world, parts):
    def agent(_):
        def reader():
            return [(yield from parts.pages("one two")), "read"]

        live = reader()
        pieces = []
        while True:
            try:
                pieces.append(next(live))
            except StopIteration as done:
                return [pieces, done.value]

    run = wb.record(folders, agent, None)
    assert run.output == [["one 1", "two 2"], ["all", "read"]]
    world.poisoned = True
    assert replayed(run, agent).run.output == run.output


def test_generators_that_are_left_that_give_nothing_or_fail_at_once_replay(folders, world):
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

    async def aread():
        return [piece async for piece in abroken()]

    def agent(_):
        found = [next(many()), list(nothing())]
        for failing in (lambda: list(broken()), lambda: asyncio.run(aread())):
            with pytest.raises(KeyError):
                failing()
        thrown = many()
        next(thrown)
        with pytest.raises(OSError, match="mine"):
            thrown.throw(OSError("mine"))
        return found

    run = wb.record(folders, agent, None)
    assert run.status == "done", run.exception
    assert run.calls["status"].to_list() == ["cancelled", "ok", "error", "error", "error"]
    assert set(run.calls["quality"]) == {"full"}
    world.poisoned = True
    again = replayed(run, agent)
    assert again.run.calls["status"].to_list() == run.calls["status"].to_list()


def test_what_a_generator_does_when_it_is_closed_is_part_of_its_call(folders, world, parts):
    @wb.tool(effect="read")
    def careful():
        try:
            yield 1
        finally:
            parts.ask("goodbye")

    def agent(_):
        return next(careful())

    run = wb.record(folders, agent, None)
    assert run.calls["name"].to_list() == ["careful"]


def test_a_generator_read_after_its_recording_is_read_as_it_is(folders, world, caplog):
    @wb.tool(effect="write")
    def pages():
        yield world.live("pages")

    kept = []

    def agent(_):
        kept.append(pages())

    run = wb.record(folders, agent, None)
    log = run.digest
    assert list(kept[0]) == [1]
    assert caplog.records == [], "nothing was written after the end"
    assert (run.refresh().calls.height, run.digest) == (0, log)
    assert wb.replay(run, agent).identical
    assert list(kept[1]) == [2], "no replay runs any more"


# ---- normalise


def told(normalise):
    @wb.tool(effect="read", normalise=normalise)
    def note(text, meta):
        return [text, WORLD["world"].live("note")]

    return note


WORLD = {}


@pytest.fixture
def noting(folders, world):
    """Record an agent that notes the time, and replay it with another time and a normaliser."""
    WORLD["world"] = world

    def replay(normalise, *, mode="cached", before="10:00", after="11:00", text="x"):
        now = {"at": before, "text": "x"}

        def agent(_):
            return told(normalise)(now["text"], {"at": now["at"], "by": ["me", now["at"]]})

        world.poisoned = False
        run = wb.record(folders, agent, None)
        log = run.digest
        now.update(at=after, text=text)
        world.poisoned = True
        result = wb.replay(run, agent, mode=mode)
        assert run.refresh().digest == log, "the recording is never touched"
        return result

    return replay


AT = ["/arguments/meta/at", "/arguments/meta/by/1", "/arguments/no/such"]


def without_meta(request):
    request["arguments"]["meta"].clear()
    return request


@pytest.mark.parametrize("normalise", [AT, tuple(AT), without_meta])
def test_volatile_fields_differ_in_a_cached_replay_and_are_said(noting, normalise):
    result = noting(normalise)
    assert result.identical
    assert result.matches["match_level"].to_list() == ["normalised"]
    [used] = result.certificate["normalisers"]
    assert used["name"] == "note"
    assert noting(normalise, after="10:00").matches["match_level"].to_list() == ["exact"]


@pytest.mark.parametrize(("after", "level"), [(1.0, "normalised"), (True, "miss")])
def test_a_whole_number_is_like_its_float_and_not_like_a_truth(noting, after, level):
    result = noting(None, before=1, after=after)
    assert result.matches["match_level"].to_list() == [level]


@pytest.mark.parametrize("normalise", [AT, without_meta])
def test_what_is_not_volatile_still_differs(noting, normalise):
    [found] = noting(normalise, text="y").divergences
    assert found.kind == "request_changed"
    pointers = ["/arguments/meta/at", "/arguments/meta/by/1", "/arguments/text"]
    assert [change["pointer"] for change in found.changes] == pointers, "the requests as they are"
    assert noting(None).divergences[0].kind == "request_changed"
    assert noting(AT[:1]).divergences[0].kind == "request_changed"


def test_an_exact_replay_knows_no_normaliser(noting):
    assert not noting(AT, mode="exact").identical


def test_a_normaliser_that_raises_makes_no_match_and_is_said(noting):
    def broken(request):
        raise ZeroDivisionError("so there")

    result = noting(broken)
    assert [found.kind for found in result.divergences] == ["request_changed", "normaliser_failed"]
    for found in result.divergences:
        assert "ZeroDivisionError('so there')" in found.cause
    assert noting(broken, after="10:00").identical, "it was not needed"


@pytest.mark.parametrize("wrong", ["/arguments/at", ["arguments"], [1]])
def test_what_is_no_normaliser_is_refused(wrong):
    with pytest.raises(errors.UsageError, match="JSON pointers"):
        wb.tool(normalise=wrong)


def test_a_divergence_names_the_pointers_to_mask(noting):
    [found] = noting(None, before="2026-01-01T10:00:00Z", after="2026-01-01T11:00:00Z").divergences
    assert found.kind == "nondeterminism"
    assert "normalise=['/arguments/meta/at', '/arguments/meta/by/1']" in found.fix
    assert "wb.clock" in found.fix
