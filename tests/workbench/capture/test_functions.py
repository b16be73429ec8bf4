"""Functions of every sort are calls: recorded as they are called, and answered without running."""

import asyncio
import inspect

import function_agents as agents
import pytest
from function_agents import parts

import workbench as wb
from workbench import errors
from workbench.capture import RecordingWarning, callables
from workbench.schema import parse_body


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


def test_a_function_of_each_sort_is_recorded(folders, world):
    run = wb.record(folders, agents.of_all_sorts, None)
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


def test_on_a_live_server_too(store, world):
    run = store.run(wb.record(store, agents.of_all_sorts, None).run_id)
    assert run.calls.height == 13
    world.poisoned = True
    assert replayed(run, agents.of_all_sorts).run.store is store


def test_outside_a_recording_a_function_is_itself(world):
    assert asyncio.run(parts.all_of_them())[0] == {"said": "hi", "n": 1, "heat": 1}
    assert list(parts.pages("one")) == [f"one {world.calls}"]


def test_signatures_names_and_docs_are_kept():
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


def test_a_generator_is_decorated_twice_and_recorded_once(folders, world):
    run = wb.record(folders, agents.decorated_twice, None)
    assert run.calls["kind"].to_list() == ["planner"]


@pytest.mark.parametrize("wrong", ["look_up", 3, property(lambda _: 1)])
def test_what_cannot_be_called_is_refused_when_it_is_decorated(wrong):
    for decorate in (wb.tool, wb.call(kind="model"), wb.step("x")):
        with pytest.raises(errors.UsageError, match="only what can be called"):
            decorate(wrong)


# ---- arguments


def test_arguments_that_do_not_fit_raise_as_ever_and_leave_no_trace(folders, world):
    run = wb.record(folders, agents.called_wrongly, None)
    assert run.status == "done", run.exception
    assert len(run.output) == 7
    assert run.output[0] == "ask() missing 1 required positional argument: 'prompt'"
    assert run.output[-1] == "method() missing 1 required positional argument: 'order'"
    assert run.calls.height == 0
    assert "capture_gap" not in [
        parse_body(e).label for e in run.event_log() if e.event_type == "annotated"
    ]


def test_a_wrapper_that_adds_arguments_is_recorded_by_what_it_takes(folders, world):
    run = wb.record(folders, agents.through_a_wrapper, None)
    assert requests_of(run) == [
        {"args": {"$type": "tuple", "$value": ["A1"]}, "kwargs": {}},
    ]


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


def test_what_is_sent_and_thrown_reaches_a_generator_and_is_labelled(folders, world):
    expected = [
        ["said a", "said b", "said caught c", "said None"],
        ["said a", "said b", "said caught c"],
    ]
    assert agents.talked_with(None) == expected
    with pytest.warns(RecordingWarning, match="2 calls are lossy"):
        run = wb.record(folders, agents.talked_with, None)
    assert run.output == expected
    assert agents.left[-4:] == [None, "caught c"] * 2
    assert run.calls["status"].to_list() == ["cancelled", "cancelled"]
    assert run.calls["quality"].to_list() == ["lossy", "lossy"]


def test_what_was_sent_is_answered_in_a_cached_replay(folders, world):
    def agent(_):
        live = agents.talk("a")
        return [next(live), live.send("b")]

    with pytest.warns(RecordingWarning, match="lossy"):
        run = wb.record(folders, agent, None)
    left = len(agents.left)
    assert agents.left[-1] == "b"
    assert wb.replay(run, agent, mode="cached").run.output == ["said a", "said b"]
    assert len(agents.left) == left


def test_a_generator_returns_what_it_returned(folders, world):
    run = wb.record(folders, agents.returned_by_a_generator, None)
    assert run.output == [["one 1", "two 2"], ["all", "read"]]


def test_generators_that_are_left_that_give_nothing_or_fail_at_once(folders, world):
    run = wb.record(folders, agents.left_and_broken_generators, None)
    assert run.status == "done", run.exception
    assert run.calls["status"].to_list() == ["cancelled", "ok", "error", "error", "error"]
    assert set(run.calls["quality"]) == {"full"}


def test_what_a_generator_does_when_it_is_closed_is_part_of_its_call(folders, world):
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
