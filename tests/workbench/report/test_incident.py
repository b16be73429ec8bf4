"""What an incident report says, over a folder whose causes are known."""

import json

import polars as pl
import pytest
from incident_runs import HOSTILE

from workbench import store as stores
from workbench.errors import RunNotFound, UsageError
from workbench.report import incident
from workbench.report.incident.divergence import first_change
from workbench.schema import RunHeader


@pytest.fixture
def found(incidents):
    """Gather the facts on a run by its name."""
    folder, ids = incidents
    return lambda name, **given: incident.gather(run=ids[name], store=str(folder), **given)


def test_the_baseline_is_a_successful_run_with_the_same_input(found, incidents):
    assert found("false rule").baseline.run_id == incidents[1]["good"]
    assert "the same input" in found("false rule").baseline_reason


def test_a_named_baseline_is_taken(found, incidents):
    named = found("false rule", baseline=incidents[1]["ordinary 1"])
    assert named.baseline.name == "ordinary 1"


@pytest.mark.parametrize(
    ("name", "kind", "call"),
    [
        ("false rule", "documents", "rules"),
        ("wrong sum", "result", "pay"),
        ("time out", "error", "pay"),
    ],
)
def test_the_first_thing_that_came_in_differently_is_found(found, name, kind, call):
    change = first_change(found(name))
    assert (change.kind, change.name) == (kind, call)
    assert f"#{change.seq}" in str(incident.actions(found(name))).splitlines()[1]


def test_a_good_run_says_that_nothing_differs(found, incidents):
    good = found("good", baseline=incidents[1]["good"])
    assert "No difference." in str(incident.divergence(good))
    assert str(incident.headline(good)).splitlines()[1] == "good: no error in 4 calls"


def test_the_headline_counts_what_failed(found):
    text = str(incident.headline(found("time out")))
    assert "time out ended with TimeoutError: pay raised it in 3 of 3 calls" in text
    assert "pay was called 3 times with the same arguments." in text


def test_a_window_without_a_run_follows_the_most_frequent_trouble(incidents):
    folder, ids = incidents
    seen = incident.gather(store=str(folder), since="2026-11-20T06:00", until="2026-11-20T06:11")
    assert seen.run.run_id == ids["false rule"]
    assert "1 of 11 runs of desk:agent went wrong" in str(incident.headline(seen))
    assert "from 2026-11-20T06:00 until 2026-11-20T06:11" in str(incident.origin(seen))


def test_an_empty_window_and_an_unknown_run_are_refused(incidents):
    with pytest.raises(RunNotFound, match="no run to report on"):
        incident.gather(store=str(incidents[0]), since="2030-01-01")
    with pytest.raises(RunNotFound):
        incident.gather(store=str(incidents[0]), run="absent")
    with pytest.raises(UsageError, match="ISO 8601"):
        incident.gather(store=str(incidents[0]), since="yesterday")


def test_unknown_is_never_zero(found):
    unpriced = found("good")
    runs = unpriced.peers.with_columns(cost_usd=pl.lit(None, dtype=pl.Float64))
    text = str(incident.costs(incident.Incident(**{**vars_of(unpriced), "peers": runs})))
    assert "The cost of 14 of 14 runs is unknown" in text
    assert "cost unknown" in " ".join(text.split())


def vars_of(found):
    names = ("store", "run", "chosen", "baseline", "baseline_reason", "window", "output")
    return {name: getattr(found, name) for name in names}


def test_every_share_has_its_denominator_and_interval(found):
    page = incident.reach(found("false rule")).html
    assert "<b>2 of 14</b> runs" in page
    assert 'aria-label="none: 40\u202f%, from 5\u202f% to 85\u202f%, 2 of 5 runs"' in page
    assert 'aria-label="mail: 0\u202f%, from 0\u202f% to 34\u202f%, 0 of 9 runs"' in page


def test_text_of_a_trace_is_never_markup(found):
    hostile = found("hostile")
    for section in (incident.moments, incident.divergence, incident.actions, incident.headline):
        html = section(hostile).html
        assert HOSTILE not in html
    assert "&lt;/script&gt;" in incident.divergence(hostile).html


def test_every_proposed_line_runs(found):
    import workbench as wb

    lines = [a.line for n in ("false rule", "wrong sum", "time out") for a in actions_of(found(n))]
    assert len(lines) > 8
    for line in lines:
        *before, last = line.splitlines()
        names = {"wb": wb}
        exec("\n".join(before), names)
        if "wb.fork" not in last:
            assert eval(last, names) is not None


def actions_of(found):
    from workbench.report.incident.actions import _actions

    return list(_actions(found))


def test_a_cause_can_be_tested_by_the_fork_that_is_proposed(found):
    [line] = [a.line for a in actions_of(found("false rule")) if "wb.fork" in a.line]
    assert 'agent="shop.desk:agent", rest="live").plan()' in line
    assert '["documents"]' in line


def test_the_findings_are_written_for_programs(found, tmp_path):
    incident.origin(found("time out", output=str(tmp_path)))
    facts = json.loads((tmp_path / "incident.json").read_text())
    assert len(facts["failing_seqs"]) == 3
    assert (facts["runs"], facts["bad_runs"]) == (14, 2)


def test_the_timeline_begins_at_the_call_to_look_at(found):
    seen = found("wrong sum")
    assert incident.timeline(seen).selected == [first_change(seen).seq]


def test_an_open_store_is_used_as_it_is(incidents):
    with stores.read(str(incidents[0])) as opened:
        assert incident.gather(store=opened, run=incidents[1]["good"]).store is opened


def test_a_document_says_how_the_runs_went_that_got_this_text(found):
    text = str(incident.actions(found("false rule")))
    assert "New is this text of refunds.md: no other run read here got it." in text


def test_a_report_over_a_server_says_the_same(found, incidents, store):
    folder, ids = incidents
    with stores.read(str(folder)) as source:
        for run_id in ids.values():
            run = source.run(run_id)
            header = RunHeader(
                run_id=run_id, name=run.name, agent=run.info["agent"], labels=run.labels
            )
            store.create_run(header)
            store.append(run_id, run.event_log(), run.bodies())
    served = incident.gather(run=ids["wrong sum"], store=store)
    local = found("wrong sum")
    for section in (incident.headline, incident.moments, incident.divergence, incident.reach):
        assert str(section(served)) == str(section(local))
