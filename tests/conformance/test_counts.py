"""C19: what a certificate counts is what the events of the new run say."""

from collections import Counter

import polars as pl
import pytest
import replay_agents as agents
from conformance_agents import asks_a_desk, in_a_graph
from shelf import Shelf

import workbench as wb
from workbench.replay import session
from workbench.replay.simulate import Simulator
from workbench.store import export

# such an answer was given in the place of a recorded one
REPLACING = {"live", "simulated"}


def works(_):
    """Poll, and ask a desk."""
    return [agents.ask("ready?"), agents.ask("ready?"), *asks_a_desk(None)]


SIDES = {"plain": lambda work: work, "graph": in_a_graph}
HOW = {
    "exact": {},
    "cached": {"mode": "cached"},
    "collected": {"collect": True},
    "live override": {"mode": "cached", "overrides": {"tool:ask": "live"}},
    "simulated": {"mode": "simulated", "simulate": Simulator({"ask": {"answer": 7}})},
    "simulated where nothing answers": {
        "mode": "cached",
        "on_miss": "simulate",
        "simulate": Simulator({"desk-1": "made up"}),
    },
}


def told_by_events(run, recorded):
    """Return what a certificate must count, from the events of the new run alone."""
    events = run.events
    starts = events.filter(events["event_type"] == "call_started")
    ends = events.filter(events["event_type"] == "call_ended")
    rows = starts.join(ends.select("step_id", end="status"), on="step_id").rows(named=True)
    assert len(rows) == starts.height == ends.height
    unanswered = [row for row in rows if row["end"] == "cancelled"]
    answered = [row for row in rows if row["end"] != "cancelled"]
    replaced = [row for row in answered if row["match_level"] in REPLACING]
    consumed = [row for row in answered if row["match_level"] not in REPLACING]
    return {
        "levels": dict(Counter(row["match_level"] for row in rows)),
        "asked": len(rows),
        "consumed": len(consumed),
        "replaced": len(replaced),
        "unanswered": len(unanswered),
        "recorded": recorded,
    }


def held(result, run):
    """Check a certificate against the events of the new run."""
    told = told_by_events(result.run, run.calls.height)
    counts = result.certificate["calls"]
    assert result.certificate["match_levels"] == told["levels"]
    assert (counts["asked"], counts["consumed"]) == (told["asked"], told["consumed"])
    assert counts["recorded"] == told["recorded"]
    assert counts["consumed"] + counts["replaced"] + counts["unconsumed"] == counts["recorded"]
    # one that was asked for and never recorded stands in no recorded one's place
    assert counts["replaced"] <= told["replaced"]
    if result.identical:
        assert counts["asked"] == counts["consumed"] == counts["recorded"]
        assert told["unanswered"] == 0
    assert f"{counts['consumed']} of {counts['recorded']}" in str(result)
    return told


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("differs", [False, True], ids=["same", "differs"])
def test_c19_every_count_is_of_what_the_events_say(tmp_path, world, side, how, differs):
    agent = SIDES[side](works)
    made = wb.record(Shelf(), agent, {"found": None})
    run = wb.open(str(export.export([made], tmp_path / "lake"))).run(made.run_id)
    world.extra_call = differs
    result = wb.replay(run, agent, into=Shelf(), **HOW[how])
    told = held(result, run)
    modes = result.run.events.filter(pl.col("event_type") == "call_started")["mode"]
    live = modes.filter(modes == "live").len()
    assert live == told["levels"].get("live", 0)
    if how == "live override":
        assert live == result.certificate["policy"]["used"]["calls"] > 0
    else:
        assert live == 0
    if not differs:
        expected = {
            "live override": {"live": 3, "exact": 1},
            "simulated": {"simulated": 4},
        }.get(how, {"exact": 4})
        assert told["levels"] == expected
        assert result.identical is (expected == {"exact": 4})


def test_a_count_of_what_was_not_consumed_is_noticed(world, monkeypatch):
    run = wb.record(Shelf(), works, None)
    world.extra_call = True
    counted = session.ReplaySession.log

    def twice(self, opened, level, *more):
        counted(self, opened, level, *more)
        counted(self, opened, "exact", *more)

    monkeypatch.setattr(session.ReplaySession, "log", twice)
    result = wb.replay(run, works)
    with pytest.raises(AssertionError):
        held(result, run)
