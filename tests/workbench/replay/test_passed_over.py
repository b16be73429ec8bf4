"""A changed request that no call of the run answers is still named before what follows from it."""

import pytest
import replay_agents as agents

import workbench as wb
from workbench.replay.simulate import Simulator


@wb.tool(effect="read")
def look(what):
    return {"what": what, "answer": agents.world.live("look")}


@wb.tool(effect="read")
def find(what):
    return {"what": what, "answer": agents.world.live("find")}


@wb.tool(effect="read")
def close(what):
    return {"what": what, "answer": agents.world.live("close")}


asked = []


def desk(_):
    """Look something up, do something between, and close; the last depends on no answer."""
    tool, first, last = asked
    found = tool(first)
    look("between")
    close(last)
    return found["answer"]


def record(folders, *what):
    asked[:] = what
    return wb.record(folders, desk, "x")


# how the first call is answered whose request is not the recorded one
ANSWERED = {
    "kin": {},
    "simulated": {
        "overrides": {"tool:look": "simulated"},
        "simulate": Simulator(
            {"look": {"what": "simulated", "answer": 0}}, lake=lambda _kind, _name: ()
        ),
    },
    "live": {"overrides": {"tool:find": "live"}},
}
CHANGED = {
    "kin": (look, "other", "request_changed"),
    "simulated": (look, "other", "request_changed"),
    "live": (find, "first", "name_changed"),
}


@pytest.fixture(params=ANSWERED)
def played(request, folders, world):
    """Replay a run with its first call changed, and the last one as it is told to be."""
    tool, what, kind = CHANGED[request.param]
    if request.param == "kin":
        record(folders, look, "other", "last")
    run = record(folders, look, "first", "last")

    def play(last, **options):
        asked[:] = [tool, what, last]
        result = wb.replay(run, desk, mode="cached", **ANSWERED[request.param], **options)
        assert result.matches["match_level"][0] == request.param
        return run, kind, result

    return play


def told(result):
    return [(found.kind, found.seq) for found in result.divergences]


def test_the_changed_call_is_named_before_a_later_one_that_finds_nothing(played):
    run, kind, result = played("never recorded")
    seqs = run.calls["seq"].to_list()
    assert told(result)[:2] == [(kind, seqs[0]), ("request_changed", seqs[2])]


def test_the_changed_call_is_named_at_the_end_where_that_differs(played):
    run, kind, result = played("last")
    found = told(result)
    assert found[0] == (kind, run.calls["seq"][0])
    assert "outcome_mismatch" in [one[0] for one in found[1:]]


def test_it_is_named_once_where_all_differences_are_collected(played):
    run, kind, result = played("never recorded", collect=True)
    assert told(result).count((kind, run.calls["seq"][0])) == 1


def test_a_request_that_was_not_changed_is_named_by_nothing(folders, world):
    run = record(folders, look, "first", "last")
    asked[2] = "never recorded"
    result = wb.replay(run, desk, mode="cached", **ANSWERED["simulated"])
    assert result.matches["match_level"].to_list() == ["simulated", "simulated", "miss"]
    assert told(result)[0] == ("request_changed", run.calls["seq"][2])


def test_what_is_live_is_told_behind_what_was_changed_before_it(folders, world):
    record(folders, look, "other", "last")
    run = record(folders, look, "first", "last")
    asked[:] = [look, "other", "changed too"]
    result = wb.replay(run, desk, mode="cached", overrides={"tool:close": "live"})
    seqs = run.calls["seq"].to_list()
    assert told(result)[:2] == [("request_changed", seqs[0]), ("request_changed", seqs[2])]
