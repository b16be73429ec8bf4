from datetime import timedelta

import polars as pl
import pytest
from handmade import BEGIN, Log, any_log, short_run
from hypothesis import given

from workbench import frames, hashing
from workbench.schema import StepStarted


@pytest.fixture
def events() -> pl.DataFrame:
    return frames.from_events(short_run().events)


def test_steps_have_the_documented_columns(events):
    assert dict(frames.steps(events).schema) == frames.STEPS


def test_calls_have_the_documented_columns(events):
    assert dict(frames.calls(events).schema) == frames.CALLS


@pytest.mark.parametrize("view", [frames.steps, frames.calls])
def test_a_run_without_events_has_the_columns_all_the_same(view):
    nothing = view(pl.DataFrame(schema=frames.EVENTS))

    assert nothing.height == 0
    assert nothing.columns == list(frames.STEPS if view is frames.steps else frames.CALLS)


def test_starts_and_ends_are_paired_in_order_of_seq(events):
    paired = frames.steps(events).select("seq", "ended_seq", "kind", "name", "status")

    assert paired.rows() == [
        (2, 3, "model", "desk", "ok"),
        (4, 7, None, "tools", "ok"),
        (5, 6, "tool", "refund", "error"),
        (8, None, "model", "desk", "running"),
    ]


def test_calls_are_the_steps_that_have_a_kind(events):
    assert frames.calls(events)["seq"].to_list() == [2, 5, 8]


def test_start_ms_counts_from_the_start_of_the_run(events):
    assert frames.steps(events)["start_ms"].to_list() == [10.0, 30.0, 40.0, 70.0]


def test_a_duration_is_measured_where_none_was_given(events):
    assert frames.steps(events)["duration_ms"].to_list() == [7.5, 30.0, 10.0, None]


def test_an_error_is_one_line(events):
    assert frames.steps(events)["error"].to_list() == [None, None, "TimeoutError: too late", None]


def test_facts_of_both_events_of_a_call_stand_in_its_row(events):
    tool = frames.calls(events).row(1, named=True)

    assert (tool["effect"], tool["parent_step_id"], tool["lane"]) == ("write", "node", "tools")
    assert tool["request"] == '{"arguments":{"amount":1.0}}'
    assert tool["outcome"] is None
    assert tool["exception"] == '{"args":[],"class":"builtins:TimeoutError","message":"too late"}'


def test_an_end_without_its_start_is_a_row_of_its_own():
    log = Log()
    log.begin()
    lost = log.start("tool", "refund", {})
    log.end(lost, {"value": 1}, duration_ms=4.0)
    events = frames.from_events([event for event in log.events if event is not lost])

    row = frames.steps(events).row(0, named=True)

    assert (row["seq"], row["ended_seq"], row["status"], row["name"]) == (3, 3, "ok", "refund")
    assert row["start_ms"] == 16.0


def test_a_step_that_ends_twice_is_one_row():
    log = Log()
    log.begin()
    call = log.start("tool", "refund", {})
    log.end(call, {"value": 1})
    log.end(call, {"value": 2})

    assert frames.calls(frames.from_events(log.events))["outcome"].to_list() == ['{"value":1}']


def test_steps_without_an_id_are_not_paired_with_each_other():
    log = Log()
    log.begin()
    log.add("step_started", StepStarted(), name="a")
    log.add("step_started", StepStarted(), name="b")

    assert frames.steps(frames.from_events(log.events))["name"].to_list() == ["a", "b"]


def test_an_absurd_duration_does_not_break_the_frame():
    log = Log()
    log.begin()
    log.end(log.start("tool", "x", {}, started_at=None), {"value": 1}, duration_ms=1e300)

    row = frames.steps(frames.from_events(log.events)).row(0, named=True)

    assert (row["started_at"], row["duration_ms"]) == (None, 1e300)


def test_a_run_without_times_has_no_start_ms():
    log = Log()
    log.add("run_started", started_at=None)
    log.start("tool", "x", {}, started_at=None)

    assert frames.steps(frames.from_events(log.events))["start_ms"].to_list() == [None]


def test_times_count_from_the_first_event_where_the_run_has_no_start():
    log = Log()
    log.start("tool", "x", {}, started_at=BEGIN)

    assert frames.steps(frames.from_events(log.events))["start_ms"].to_list() == [0.0]


@given(any_log())
def test_a_request_in_the_frame_signs_as_the_recorded_one(log):
    import orjson

    for call in frames.calls(frames.from_events(log.events)).iter_rows(named=True):
        signed = hashing.signature_of(
            kind=call["kind"], name=call["name"], request=orjson.loads(call["request"])
        )
        assert signed == call["signature"]


@given(any_log())
def test_a_frame_of_events_reads_back_as_the_same_events(log):
    assert frames.to_events(frames.from_events(log.events)) == log.events


def test_a_call_that_ended_before_it_began_has_no_duration():
    log = Log()
    started = log.start("tool", "x", {})
    log.end(started, {"value": 1}, started_at=BEGIN - timedelta(hours=1))

    assert frames.calls(frames.from_events(log.events))["duration_ms"].to_list() == [None]
