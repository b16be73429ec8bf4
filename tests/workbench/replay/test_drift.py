"""What live answers have in common in which they differ from the recorded ones is one row each."""

import itertools
import json

import pytest
import replay_agents as agents

import workbench as wb


class Airline:
    renames = False
    prices = itertools.count(100)


@wb.tool(effect="read")
def flights(day):
    key = "price_usd" if Airline.renames else "price"
    found = [{key: next(Airline.prices), "from": "OSL"} for _ in range(day % 3 + 1)]
    return {"day": day, "flights": found, "page": 1 if Airline.renames else "1"}


def agent(days):
    return len([flights(day) for day in days])


@pytest.fixture
def drifted(folders, world, monkeypatch):
    """Two runs of three and two calls, replayed with the tool live and its fields renamed."""
    runs = [wb.record(folders, agent, days) for days in ([1, 2, 3], [4, 5])]
    monkeypatch.setattr(Airline, "renames", True)
    results = []
    for run in runs:
        monkeypatch.setattr(Airline, "prices", itertools.count(min(_prices(run))))
        results.append(wb.replay(run, agent, mode="cached", overrides={"tool:flights": "live"}))
    return results


def _prices(run):
    outcomes = [json.loads(text)["value"] for text in run.calls["outcome"]]
    return [flight["price"] for outcome in outcomes for flight in outcome["flights"]]


def test_a_renamed_field_is_one_row_wherever_it_lies(drifted):
    assert [len(result.divergences) for result in drifted] == [3, 2]
    found = wb.drift(drifted)
    rows = {row["pointer"]: row for row in found.to_dicts()}
    assert rows["/value/flights/*/price"] == {
        "tool": "flights",
        "pointer": "/value/flights/*/price",
        "before": "price",
        "after": "price_usd",
        "calls": 5,
        "runs": 2,
    }
    assert rows["/value/page"] | {"tool": ""} == {
        "tool": "",
        "pointer": "/value/page",
        "before": '"1"',
        "after": "1",
        "calls": 5,
        "runs": 2,
    }
    assert len(rows) == 2


def test_values_that_differ_each_time_are_told_by_their_type(folders, world):
    run = wb.record(folders, agents.polling, "x")
    world.numbers = map(str, itertools.count(1000))
    result = wb.replay(run, agents.polling, mode="cached", overrides={"tool:ask": "live"})
    [row] = wb.drift([result]).to_dicts()
    assert (row["pointer"], row["before"], row["after"]) == ("/value/answer", "number", "string")
    assert (row["calls"], row["runs"]) == (3, 1)


def test_nothing_drifts_where_nothing_is_live(folders, world):
    run = wb.record(folders, agents.polling, "x")
    assert wb.drift([wb.replay(run, agents.polling)]).height == 0
