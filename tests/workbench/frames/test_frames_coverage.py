"""A recording tells what it holds and what it lacks, to whoever reads its events."""

import contextvars
import functools
import queue
import threading

import odd
import pytest
from handmade import Log
from langchain_core.messages import HumanMessage
from replay_agents import DeskModel

import workbench as wb
from workbench import frames, hashing, recording, schema
from workbench.capture import RecordingWarning


def of(log):
    return frames.coverage(frames.from_events(log.events), lambda: log.bodies)


def test_a_recording_without_a_flaw_lacks_nothing():
    log = Log()
    log.begin()
    log.end(log.start("tool", "t", {}), {"value": 1})
    log.end(log.start("model", "m", {}), {"value": 1})
    log.end(log.start("tool", "t", {}), {"value": 1})
    log.finish()
    found = of(log)
    assert (found.complete, found.calls) == (True, {"tool": 2, "model": 1})
    assert str(found) == "3 calls recorded: 2 tool, 1 model; lacks nothing known"


def test_a_run_of_no_calls_can_be_told():
    log = Log()
    log.begin()
    assert str(of(log)) == "0 calls recorded; lacks nothing known"


def gap(log, **value):
    log.add("annotated", schema.Annotated(label="capture_gap", value=value))


def flawed():
    log = Log()
    log.begin()
    lost = hashing.Freezer()({"a": [0, object()]})
    first = log.start("tool", "plot", {"arguments": {}}, quality="full", order="declared")
    log.end(first, {"value": lost}, quality="lossy")
    log.end(log.start("tool", "long", {}, quality="truncated"), quality="truncated")
    log.end(log.start("tool", "hidden", {}, quality="redacted"), quality="redacted")
    log.end(log.start("tool", "beside", {}, lane="root/?1", order="inferred"), {"value": 1})
    log.start("tool", "gone", {})
    gap(log, kind="tool", name="<b>shell</b>", reason="started without a recorded call")
    gap(log, kind="event", name=None, reason="neither disk nor store had room", events=7)
    log.finish()
    return log


def test_everything_a_recording_lacks_is_told():
    found = of(flawed())
    assert not found.complete
    assert found.lacks == [
        "8 seen and not recorded: tool <b>shell</b>, event",
        "1 lossy, the first at seq 3, tool plot: /outcome/value/a/1 was a builtins:object",
        "1 without their contents, which the store would not take",
        "1 never came back",
        "1 of inferred order: they ran beside other work of their lane",
    ]
    assert found.redacted == 1
    assert "<b>shell" not in found._repr_html_()
    assert "&lt;b&gt;shell&lt;/b&gt;" in found._repr_html_()
    assert found.as_dict()["first_lossy"]["pointer"] == "/outcome/value/a/1"


def test_a_label_of_somebody_else_that_speaks_of_gaps_is_none():
    log = Log()
    log.begin()
    log.add("annotated", schema.Annotated(label="note", value="capture_gap"))
    log.add("annotated", schema.Annotated(label="capture_gap", value="no record"))
    assert [g.kind for g in of(log).gaps] == [None]


@wb.call(effect="read")
def take(value):
    return 1


def lossy_argument(_):
    return take({"deep": [1, {"~/": odd.Rude()}]})


def lossy_message(_):
    return (
        DeskModel(lookups=0).invoke([HumanMessage("a"), HumanMessage("b", lock=odd.Slow())]).content
    )


def lossy_input(_):
    return 1


def racing(_):
    """Hand work to threads that were there before, where nobody can number it."""
    jobs, done, barrier = queue.SimpleQueue(), queue.SimpleQueue(), threading.Barrier(2)

    @wb.call()
    def meet():
        return barrier.wait(5)

    scope = contextvars.copy_context()
    threads = [
        contextvars.Context().run(threading.Thread, target=lambda: done.put(jobs.get()()))
        for _ in range(2)
    ]
    for thread in threads:
        contextvars.Context().run(thread.start)
        jobs.put(functools.partial(scope.copy().run, meet))
    for thread in threads:
        thread.join()
    return sorted([done.get(), done.get()])


@pytest.mark.parametrize(
    ("agent", "given", "place"),
    [
        (lossy_argument, 1, ("/request/arguments/value/deep/1/~0~1", "odd:Rude")),
        (lossy_message, 1, ("/extra/lock", "odd:Slow")),
        (lossy_input, [odd.Slow()], ("/input/0", "odd:Slow")),
        (racing, 1, None),
    ],
)
def test_what_stands_in_the_way_of_an_exact_replay_is_in_the_coverage(
    folders, world, agent, given, place
):
    with pytest.warns(RecordingWarning, match="cannot be replayed exactly"):
        run = wb.record(folders, agent, given)
    found = run.coverage
    assert not found.complete
    assert recording.read(run.event_log(), run.bodies()).problems
    if place is not None:
        assert (found.first_lossy.pointer, found.first_lossy.of) == place
        assert (found.first_lossy.message is not None) == (agent is lossy_message)
    else:
        assert found.inferred


def test_a_complete_recording_has_no_problems(folders, world):
    run = wb.record(folders, lossy_input, 1)
    assert run.coverage.complete
    assert recording.read(run.event_log(), run.bodies()).problems == ()
