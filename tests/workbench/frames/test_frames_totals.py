from datetime import timedelta

import pytest
from handmade import BEGIN, Log, short_run

from workbench import frames
from workbench.schema import RunEnded, RunHeader, RunStarted, StepEnded


def row(log: Log, **facts):
    return frames.run_row(RunHeader(**facts), frames.from_events(log.events))


def call(log: Log, kind: str = "model", **ended) -> None:
    log.end(log.start(kind, "x", {}), {"value": 1}, **ended)


def test_a_row_has_the_documented_columns():
    assert list(row(short_run())) == list(frames.RUNS)


def test_what_happened_is_counted():
    counted = row(short_run(), name="n", labels={"b": 1, "a": None})

    assert {name: counted[name] for name in counted if counted[name] is not None} == {
        "name": "n",
        "labels": '{"b":1}',
        "status": "failed",
        "health": "ok",
        "created_at": short_run().events[0].started_at,
        "started_at": short_run().events[0].started_at,
        "ended_at": short_run().events[-1].started_at,
        "duration_ms": 80.0,
        "events": 9,
        "steps": 4,
        "calls": 3,
        "model_calls": 2,
        "tool_calls": 1,
        "tool_errors": 1,
        "errors": 1,
        "input_tokens": 10,
        "output_tokens": 3,
        "cost_known_usd": 0.25,
        "cost_usd": 0.25,
        "unknown_cost_parts": 0,
    }


@pytest.mark.parametrize(
    ("kind", "ended", "labels", "unknown"),
    [
        ("model", {"cost_usd": 0.5}, {}, 0),
        ("model", {}, {}, 1),
        ("model", {}, {"cost_local": True}, 1),
        ("model", {"cost_usd": 0.0, "input_tokens": 3}, {}, 1),
        ("model", {"cost_usd": 0.0, "input_tokens": 3}, {"cost_local": True}, 0),
        ("model", {"cost_usd": 0.0}, {}, 0),
        ("tool", {}, {}, 0),
        ("human", {}, {}, 0),
        ("human", {"output_tokens": 3}, {}, 1),
        ("human", {"usage": {"tokens": 1}}, {}, 1),
    ],
)
def test_an_unknown_cost_is_never_zero(kind, ended, labels, unknown):
    log = Log()
    log.begin()
    call(log, kind, **ended)

    counted = row(log, labels=labels)

    assert counted["unknown_cost_parts"] == unknown
    assert (counted["cost_usd"] is None) == bool(unknown)


@pytest.mark.parametrize(
    ("events", "status"),
    [
        ([], "running"),
        (["interrupted"], "waiting"),
        (["interrupted", "resumed"], "running"),
        (["interrupted", "run_ended"], "done"),
        (["run_ended", "interrupted"], "done"),
    ],
)
def test_the_status_is_what_the_run_came_to(events, status):
    log = Log()
    log.begin()
    for event in events:
        log.add(event, status="done" if event == "run_ended" else None)

    assert row(log)["status"] == status


def test_a_writer_that_has_not_delivered_is_a_gap():
    log = Log()
    log.begin()
    log.finish(writers={"w1": 2, "w2": 5})

    assert row(log)["health"] == "gap"


def test_a_failed_step_is_an_error_of_no_tool():
    log = Log()
    log.begin()
    log.add("step_started", step_id="s", name="node")
    log.add("step_ended", StepEnded(), step_id="s", name="node", status="error")

    counted = row(log)

    assert (counted["errors"], counted["tool_errors"], counted["calls"]) == (1, 0, 0)


# ---- the root


def test_pooled_input_is_given_with_its_messages():
    log = Log()
    hello = log.message(role="user", content="hello")
    log.add("run_started", RunStarted(input={"messages": [hello], "thread": 7}, pooled=True))

    given = frames.root_input(frames.from_events(log.events), lambda: log.bodies)

    assert given == {"messages": [{"role": "user", "content": "hello"}], "thread": 7}


def test_input_that_is_not_pooled_needs_no_bodies():
    log = Log()
    log.begin({"messages": ["not a digest"]})

    assert frames.root_input(frames.from_events(log.events), lambda: 1 / 0) == {
        "messages": ["not a digest"]
    }


def test_a_run_without_events_has_no_input():
    assert frames.root_input(frames.from_events([]), dict) is None


def test_a_run_that_ended_before_it_began_has_no_duration():
    log = Log()
    log.begin()
    log.add("run_ended", RunEnded(), status="done", started_at=BEGIN - timedelta(hours=1))
    ended = row(log)
    assert ended["ended_at"] < ended["started_at"]
    assert ended["duration_ms"] is None
