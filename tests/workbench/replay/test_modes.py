"""Each call of a replay has a mode of its own, and what is live goes through a gate."""

import itertools
import json
import socket

import pytest
import replay_agents as agents

import workbench as wb
from workbench import errors
from workbench.replay.policy import Policy


def record(folders, agent, given="x"):
    return wb.record(folders, agent, given)


def levels(result):
    return result.matches["match_level"].to_list()


def kinds(result):
    return [found.kind for found in result.divergences]


# ---- the policy


def test_the_narrowest_override_wins():
    policy = Policy.of(
        "cached",
        overrides={
            "kind:tool": "exact",
            "tool:search": "live",
            "lane:root/a": "simulated",
            "lane:root/a/b": "cached",
        },
    )
    assert policy.mode_of("model", "desk", "root") == "cached"
    assert policy.mode_of("tool", "find", "root") == "exact"
    assert policy.mode_of("tool", "search", "root") == "live"
    assert policy.mode_of("tool", "search", "root/a/c") == "simulated"
    assert policy.mode_of("tool", "search", "root/a/b/1") == "cached"
    assert policy.mode_of("tool", "search", "root/ab") == "live"
    assert Policy.from_dict(policy.as_dict()) == policy


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"mode": "perfect"}, "no such replay mode"),
        ({"mode": "cached", "on_miss": "shrug"}, "no such miss policy"),
        ({"mode": "exact", "on_miss": "live"}, "ends at its first miss"),
        ({"mode": "cached", "overrides": {"search": "live"}}, "no such override"),
        ({"mode": "cached", "overrides": {"tool:": "live"}}, "no such override"),
        ({"mode": "cached", "overrides": {"tool:x": "alive"}}, "no such mode for tool:x"),
        ({"mode": "live", "budget": {"euros": 3}}, "no such budget"),
        ({"mode": "live", "budget": {"calls": float("nan")}}, "budget of calls"),
        ({"mode": "live", "budget": {"usd": True}}, "budget of usd"),
        ({"mode": "live", "isolate": True}, "no way out"),
        ({"mode": "cached", "on_miss": "live", "isolate": True}, "no way out"),
        ({"mode": "live", "effects": {"ask": "harmless"}}, "no such effect"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_runs(folders, world, given, says):
    run = record(folders, agents.sequence)
    before = world.calls
    with pytest.raises(errors.UsageError, match=says):
        wb.replay(run, agents.sequence, **given)
    assert world.calls == before


# ---- live


def test_one_tool_is_live_and_every_later_call_is_still_answered(folders, world):
    run = record(folders, agents.desk_graph, agents.question())
    world.numbers = itertools.count(1000)
    live = {"tool:look_up": "live"}
    result = wb.replay(
        run, agents.desk_graph, mode="cached", overrides=live, effects={"look_up": "read"}
    )
    tools = run.calls.filter(run.calls["name"] == "look_up")
    assert world.calls == run.calls.height + tools.height, "only that tool was called again"
    told = [found for found in result.divergences if found.seq in set(tools["seq"])]
    assert sorted(found.seq for found in told) == tools["seq"].to_list()
    assert {found.kind for found in told} == {"outcome_mismatch"}
    assert result.certificate["calls"]["unconsumed"] == 0
    models = result.matches.filter(result.matches["kind"] == "model")
    assert models["match_level"].to_list() == ["exact", "normalised"]
    assert not result.identical
    assert result.certificate["policy"]["used"]["calls"] == tools.height
    row = result.run.calls.filter(result.run.calls["name"] == "look_up")
    assert set(row["mode"]) == set(row["match_level"]) == {"live"}


def test_a_live_answer_that_is_as_recorded_is_no_difference_and_not_identical(folders, world):
    @wb.tool(effect="read")
    def add(one, other):
        return one + other

    def agent(_):
        return add(1, add(2, 3))

    run = record(folders, agent)
    result = wb.replay(run, agent, mode="cached", overrides={"tool:add": "live"})
    assert levels(result) == ["live", "live"]
    assert result.divergences == []
    assert not result.identical
    assert result.run.status == "done"


def test_a_live_call_with_another_request_says_how_it_differs(folders, world):
    asked = "first"

    def agent(_):
        return agents.ask(asked)["what"]

    run = record(folders, agent)
    asked = "second"
    result = wb.replay(run, agent, mode="cached", overrides={"tool:ask": "live"})
    assert result.divergences[0].kind == "request_changed"
    assert result.divergences[0].changes[0]["actual"] == "second"


@pytest.mark.parametrize("approval", [None, "read", "approved"])
def test_a_tool_that_may_change_things_is_not_called_unless_it_is_approved(
    folders, world, approval
):
    def agent(_):
        return agents.send("parcel")

    run = record(folders, agent)
    before = world.calls
    effects = {"send": approval} if approval else None
    result = wb.replay(run, agent, mode="live", effects=effects)
    assert world.calls == before + (approval is not None)
    if approval is None:
        assert kinds(result) == ["refused"]
        assert result.divergences[0].seq == run.calls["seq"][0]
        assert levels(result) == ["refused"]


@pytest.mark.parametrize(
    ("budget", "made"), [({"calls": 2}, 2), ({"seconds": 0.0}, 0), ({"usd": 1.0}, 3), (None, 3)]
)
def test_a_budget_ends_the_replay_before_the_call_that_is_beyond_it(folders, world, budget, made):
    run = record(folders, agents.polling)
    before = world.calls
    result = wb.replay(run, agents.polling, mode="live", budget=budget)
    assert world.calls == before + made
    assert ("refused" in kinds(result)) == (made < 3)
    if made < 3:
        assert "budget" in next(d for d in result.divergences if d.kind == "refused").cause


def test_a_model_of_unknown_price_gets_one_call_of_a_budget_in_usd(folders, world):
    run = record(folders, agents.desk_graph, agents.question())
    result = wb.replay(
        run,
        agents.desk_graph,
        mode="cached",
        overrides={"kind:model": "live"},
        on_miss="live",
        effects={"look_up": "read"},
        budget={"usd": 1.0},
    )
    refused = [found for found in result.divergences if found.kind == "refused"]
    assert len(refused) == 1
    assert "is not known" in refused[0].cause


def test_only_what_is_live_may_connect(folders, world):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()

        @wb.tool(effect="read")
        def fetch():
            socket.create_connection(address, timeout=5).close()
            return "there"

        sneaks = False

        def agent(_):
            found = fetch()
            if sneaks:
                socket.create_connection(address, timeout=5).close()
            return found

        run = record(folders, agent)
        live = {"tool:fetch": "live"}
        assert kinds(wb.replay(run, agent, mode="cached", overrides=live)) == []
        sneaks = True
        assert kinds(wb.replay(run, agent, mode="cached", overrides=live)) == ["capture_gap"]


def test_a_live_answer_in_an_exact_replay_is_nothing_exact(folders, world):
    def agent(_):
        return [agents.ask("a")["what"], agents.ask("b")["what"]]

    run = record(folders, agent)
    result = wb.replay(run, agent, overrides={"tool:ask": "live"})
    assert levels(result) == ["live", "live"]
    assert not result.identical
    assert result.run.status == "diverged"


# ---- misses


def _asking(what):
    def agent(_):
        answers = [agents.ask("known")["answer"]]
        for one in what:
            try:
                answers.append(agents.ask(one)["answer"])
            except errors.CallMissed as missed:
                answers.append(missed.code)
        return answers

    return agent


def test_a_miss_is_raised_in_the_agent_where_that_is_asked_for(folders, world):
    what = []
    agent = _asking(what)
    run = record(folders, agent)
    what.append("unknown")
    before = world.calls
    result = wb.replay(run, agent, mode="cached", on_miss="error")
    assert result.output == [run.output[0], "call_missed"]
    assert levels(result) == ["exact", "miss"]
    assert kinds(result)[0] == "extra_call"
    assert result.run.status == "done"
    assert world.calls == before


def test_a_miss_is_made_live_where_that_is_asked_for_and_told(folders, world):
    what = []
    agent = _asking(what)
    run = record(folders, agent)
    what.append("unknown")
    before = world.calls
    result = wb.replay(run, agent, mode="cached", on_miss="live")
    assert levels(result) == ["exact", "live"]
    assert kinds(result)[0] == "extra_call"
    assert kinds(result)[-1] == "mode_downgraded"
    assert world.calls == before + 1
    assert not result.identical


# ---- kin


@wb.tool(effect="read")
def look(what):
    return {"what": what, "answer": agents.world.live("look")}


@wb.tool(effect="write")
def change(what):
    return look.__wrapped__(what)


asked = []


def curious(given):
    tool = look if given == "look" else change
    return [tool(one)["answer"] for one in asked]


@pytest.mark.parametrize("given", ["look", "change"])
def test_a_call_that_only_reads_is_answered_by_another_run_of_the_agent(folders, world, given):
    asked[:] = ["a", "b", "b"]
    other = record(folders, curious, given)
    asked[:] = ["a"]
    run = record(folders, curious, given)
    asked[:] = ["a", "b", "b"]
    world.poisoned = True
    result = wb.replay(run, curious, mode="cached")
    if given == "change":
        assert levels(result) == ["exact", "miss"]
        return
    assert levels(result) == ["exact", "kin", "kin"]
    assert result.output == [run.output[0], *other.output[1:]]
    assert result.matches["source_run_id"].to_list() == [None, other.run_id, other.run_id]
    assert not result.identical
    assert result.certificate["match_levels"] == {"exact": 1, "kin": 2}


CURIOUS = """
import workbench as wb

@wb.tool(effect="read")
def look(what):
    return {"what": what, "answer": next(numbers)}

numbers = iter(range(100))

def asks(given):
    return [look(one)["answer"] for one in given]

def asks_more(given):
    return asks([*given, "b", "b", "c"])
"""


@pytest.mark.parametrize("isolate", [False, True])
def test_kindred_runs_answer_in_both_strengths(folders, world, tmp_path, monkeypatch, isolate):
    (tmp_path / "curious_agents.py").write_text(CURIOUS)
    monkeypatch.syspath_prepend(str(tmp_path))
    other = record(folders, "curious_agents:asks", ["x", "b", "b"])
    run = record(folders, "curious_agents:asks", ["a"])
    result = wb.replay(run, "curious_agents:asks_more", mode="cached", isolate=isolate)
    assert levels(result) == ["exact", "kin", "kin", "miss"]
    rows = result.run.calls["outcome"].to_list()
    assert [json.loads(one)["value"]["answer"] for one in rows[:3]] == [
        *run.output,
        *other.output[1:],
    ]
    assert result.matches["source_run_id"].to_list() == [None, other.run_id, other.run_id, None]
