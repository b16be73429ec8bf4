"""A miss tells which matcher failed and how, what is near, and what would do."""

from __future__ import annotations

import itertools

import pytest
import replay_agents as agents
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from shelf import Shelf
from strengths import isolated

import workbench as wb
from workbench import errors, recording
from workbench.replay.engine import Engine, Question


@pytest.fixture
def asking(world):
    """Record what is asked, and replay what is asked otherwise."""

    def ask_again(said, instead, *, mode="cached", **options):
        now = list(said)

        @wb.call(effect="read")
        def ask(what, by=None):
            world.live("ask")
            return [what, by][0]

        def agent(_):
            return [ask(**one) if isinstance(one, dict) else ask(one) for one in now]

        run = wb.record(Shelf(), agent, "x")
        now[:] = instead
        return run, wb.replay(run, agent, mode=mode, into=Shelf(), **options)

    return ask_again


def by_name(found):
    return {one["matcher"]: one for one in found}


def test_each_matcher_says_how_it_failed(asking):
    run, result = asking(["a", "b"], ["a", "c"])
    [found] = result.divergences
    said = by_name(found.matchers)
    assert list(said) == ["exact", "normalised", "lane", "run"]
    assert all(one["failed"] for one in said.values())
    seq = run.calls["seq"][1]
    assert (said["exact"]["seq"], said["exact"]["pointers"]) == (seq, ["/arguments/what"])
    assert said["normalised"]["reason"] == "the request differs at /arguments/what"
    assert said["lane"]["reason"] == "no call of lane root asks the same"
    assert said["run"]["reason"] == "no recorded call asks the same"


def test_a_matcher_that_the_mode_does_not_allow_says_that_it_would_take_the_call(asking):
    run, result = asking(["a", "b"], ["b"], mode="exact")
    said = by_name(result.divergences[0].matchers)
    failed = {name: one["failed"] for name, one in said.items()}
    assert failed == {"exact": True, "normalised": True, "lane": False, "run": False}
    assert said["lane"]["seq"] == run.calls["seq"][1]


def test_what_has_answered_says_whom_it_answered(asking):
    run, result = asking(["a", "a"], ["a", "a", "a"])
    said = by_name(result.divergences[-1].matchers)
    assert said["exact"]["reason"] == "the recording has no call number 3 in lane root"
    assert said["lane"]["reason"] == "every call of lane root that asks the same has answered"
    assert said["run"]["failed"]
    run, result = asking(["b", "a"], ["a", "a"])
    said = by_name(result.divergences[-1].matchers)
    taken = f"seq {run.calls['seq'][1]} has answered call number 1 of lane root"
    assert said["exact"]["reason"] == said["normalised"]["reason"] == taken


def test_what_is_printed_says_it_too(asking):
    run, result = asking(["a", "b"], ["a", "c"])
    shown = str(result.divergences[0])
    assert "\n  /arguments/what: 'b' → 'c'" in shown
    assert "\n  lane: no call of lane root asks the same" in shown
    assert f"\n  nearest: seq {run.calls['seq'][1]} ask, /arguments/what; " in shown


def test_a_normaliser_that_raises_is_a_reason(asking):
    def broken(request):
        raise ZeroDivisionError("so there")

    _, result = asking(["a"], ["b"], normalise={"ask": broken})
    [found] = [one for one in result.divergences if one.kind == "request_changed"]
    assert "ZeroDivisionError('so there')" in by_name(found.matchers)["normalised"]["reason"]


def test_the_nearest_say_which_matcher_failed_on_each(asking):
    run, result = asking(["a", "b", "c"], ["a", "x"])
    found = result.divergences[0]
    assert found.nearest[0]["seq"] == run.calls["seq"][1]
    assert len(found.nearest) == 3
    for near in found.nearest:
        said = by_name(near["matchers"])
        assert list(said) == ["exact", "normalised", "lane", "run"]
        assert all(one["failed"] and one["reason"] for one in said.values())
    first, used = found.nearest[0], next(near for near in found.nearest if near["used"])
    assert by_name(first["matchers"])["exact"]["pointers"] == ["/arguments/what"]
    assert first["differs_at"] == "/arguments/what"
    assert by_name(used["matchers"])["exact"]["reason"] == "it is call number 1 of lane root"
    assert "has answered call number 1" in by_name(used["matchers"])["run"]["reason"]


# ---- a ready normaliser


MOMENTS = [
    ("at 2026-01-01T10:00:00Z", "at 2026-01-02T11:00:00Z"),
    ("id 6f1c1a34-6a0e-4f0e-9a55-1d2d6c2f7a11", "id 0f1c1a34-6a0e-4f0e-9a55-1d2d6c2f7a12"),
    ("2026-01-01 6f1c1a346a0e4f0e9a551d2d6c2f7a11", "2026-01-02 0f1c1a346a0e4f0e9a551d2d6c2f7a12"),
    (0.123456789123, 0.987654321987),
]


@pytest.mark.parametrize(("then", "now"), MOMENTS)
def test_the_ready_normaliser_makes_the_cached_replay_pass(asking, then, now):
    said, instead = [{"what": "a", "by": then}], [{"what": "a", "by": now}]
    for mode in ("exact", "cached"):
        _, result = asking(said, instead, mode=mode)
        [found] = result.divergences
        assert found.kind == "nondeterminism"
        assert found.normaliser == {"name": "ask", "pointers": ["/arguments/by"]}
    ready = {found.normaliser["name"]: found.normaliser["pointers"]}
    _, result = asking(said, instead, normalise=ready)
    assert result.identical, result.divergences
    assert result.matches["match_level"].to_list() == ["normalised"]
    assert result.certificate["normalisers"] == [found.normaliser]


@pytest.mark.parametrize(
    ("then", "now"), [("a", "b"), ("2 of 12345678", "3 of 12345678"), ("2026-01-01", None)]
)
def test_there_is_none_where_more_than_a_moment_differs(asking, then, now):
    _, result = asking([{"what": "a", "by": then}], [{"what": "a", "by": now}])
    assert result.divergences[0].kind == "request_changed"
    assert result.divergences[0].normaliser is None


def test_what_is_given_for_a_replay_is_added_to_what_was_decorated(world):
    def asked(note, moment):
        return lambda _: len(note(moment, moment))

    def noting(normalise):
        return wb.tool(name="note", effect="read", normalise=normalise)(lambda one, two: [one, two])

    then, now = "2026-01-01", "2026-01-02"
    for own in (["/arguments/one"], lambda request: {**request["arguments"], "one": None}):
        note = noting(own)
        run = wb.record(Shelf(), asked(note, then), "x")
        result = wb.replay(run, asked(note, now), mode="cached", into=Shelf())
        ready = result.divergences[0].normaliser
        options = {"mode": "cached", "normalise": {ready["name"]: ready["pointers"]}}
        assert wb.replay(run, asked(note, now), into=Shelf(), **options).identical
    instead = {"note": lambda request: request.get("name")}
    assert wb.replay(
        run, asked(note, now), into=Shelf(), mode="cached", normalise=instead
    ).identical, "a function takes the place of the decorated one"


AWAY = """
import os
import workbench as wb

@wb.tool(effect="read")
def note(at):
    return None

def agent(given):
    return note(os.getpid())
"""


@isolated
def test_pointers_go_along_into_an_isolated_replay(folders, tmp_path, monkeypatch):
    (tmp_path / "an_agent_that_notes.py").write_text(AWAY)
    monkeypatch.syspath_prepend(str(tmp_path))
    run = wb.record(folders, "an_agent_that_notes:agent", None)
    options = {"mode": "cached", "isolate": True}
    pointers = {"note": ["/arguments/at"]}
    result = wb.replay(run, "an_agent_that_notes:agent", normalise=pointers, **options)
    assert result.identical, result.divergences
    assert result.certificate["normalisers"] == [{"name": "note", "pointers": ["/arguments/at"]}]
    without = wb.replay(run, "an_agent_that_notes:agent", **options).divergences[0]
    assert [one["matcher"] for one in without.matchers] == ["exact", "normalised", "lane", "run"]
    with pytest.raises(errors.UsageError, match="a function cannot be taken"):
        wb.replay(run, "an_agent_that_notes:agent", normalise={"note": str}, **options)


def test_an_exact_replay_takes_no_normaliser(asking):
    said = [{"what": "a", "by": "2026-01-01"}], [{"what": "a", "by": "2026-01-02"}]
    _, result = asking(*said, mode="exact", normalise={"ask": ["/arguments/by"]})
    assert not result.identical


def test_what_is_no_normaliser_is_refused(asking):
    with pytest.raises(errors.UsageError, match="JSON pointers"):
        asking(["a"], ["b"], normalise={"ask": "/arguments/by"})


# ---- ids of providers


def test_renamed_ids_are_kept_with_the_match_and_the_result(world):
    ids = itertools.count(1)

    def agent(_):
        model = agents.DeskModel(lookups=0)
        calls = [{"id": f"made-up-{next(ids)}", "name": "look_up", "args": {}} for _ in range(2)]
        answers = [ToolMessage("found", tool_call_id=call["id"]) for call in calls]
        talk = [HumanMessage("q"), AIMessage("", tool_calls=calls), *answers]
        return [model.invoke(talk).content, model.invoke([*talk, HumanMessage("r")]).content]

    run = wb.record(Shelf(), agent, "x")
    result = wb.replay(run, agent, mode="cached", into=Shelf())
    assert result.identical, result.divergences
    assert result.matches["match_level"].to_list() == ["normalised"] * 2
    first = run.calls["seq"][0]
    expected = [("made-up-3", "made-up-1"), ("made-up-4", "made-up-2")]
    assert result.certificate["renamed"] == [
        {"seq": first, "asked": asked, "recorded": was} for asked, was in expected
    ]


# ---- what is left


def question(call, **changed):
    fields = ("kind", "name", "lane", "ordinal", "signature", "request")
    return Question(**{name: getattr(call, name) for name in fields} | changed)


def test_what_is_unused_is_in_order_and_lanes_expect_what_is_below_them(world):
    run = wb.record(Shelf(), agents.identical_in_bare_threads, "x")
    engine = Engine(recording.read(run.event_log(), run.bodies()))
    calls = {(call.lane, call.ordinal): call for call in engine.recording.calls}
    order = sorted(calls, key=lambda place: (place[1], place[0]))
    for number, place in enumerate(order):
        rest = [calls[one] for one in order[number:]]
        assert [*engine.unused()] == sorted(rest, key=lambda call: call.seq)
        for lane in ("root", "root/", "ro", "root/1", "root/2", "root/1/1"):
            below = [c for c in rest if c.lane == lane or c.lane.startswith(lane + "/")]
            assert engine.expects(lane) == bool(below), (number, lane)
        assert engine.exact(question(calls[place])).call == calls[place]
    assert [*engine.unused()] == []
    assert not engine.expects("root")


def test_what_never_came_back_answers_at_its_own_position_only(world):
    run = wb.record(Shelf(), agents.polling, "x")
    log = [event for event in run.event_log() if event.seq != run.calls["seq"][2] + 1]
    engine = Engine(recording.read(log, run.bodies()))
    calls = sorted(engine.recording.calls, key=lambda call: call.seq)
    assert calls[2].ended_seq is None
    for ordinal in (7, 8):
        assert engine.cached(question(calls[0], ordinal=ordinal)).level == "lane"
    assert engine.cached(question(calls[0], ordinal=9)) is None
    assert engine.cached(question(calls[2])).call == calls[2]
