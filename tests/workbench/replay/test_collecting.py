"""Collecting goes on wherever the recording has something to go on with, and ends where not."""

from __future__ import annotations

import socket
import threading
from contextlib import closing

import pytest
import replay_agents as agents
from langchain_core.language_models.fake import FakeListLLM
from shelf import Shelf

import workbench as wb

CASES = {}


def case(goes_on, *kinds):
    """Keep what an agent does otherwise, whether it goes on after that, and what is said."""

    def keep(do):
        CASES[do.__name__] = (do, goes_on, list(kinds))
        return do

    return keep


def pieces(*, until):
    with closing(agents.StreamingModel().stream("q")) as stream:
        return [piece.content for _, piece in zip(range(until), stream, strict=False)]


@case(True, "request_changed", "mode_downgraded")
def another_argument(*, again):
    agents.ask("two" if again else "one")


@case(True, "name_changed", "mode_downgraded")
def an_equal_call_of_another_name(*, again):
    call = wb.call(name="tell" if again else "say", effect="read")(lambda what: what)
    call("a")


@case(True, "stream_shape")
def a_stream_read_whole(*, again):
    return agents.StreamingModel().invoke("q").content if again else pieces(until=9)


@case(True, "stream_shape")
def a_stream_left_early(*, again):
    return pieces(until=1 if again else 9)


@case(True, "stream_shape")
def a_stream_read_past_its_end(*, again):
    return pieces(until=9 if again else 1)


@case(False, "extra_call")
def a_call_that_nothing_answers(*, again):
    if again:
        agents.send("one more")


@case(False, "capture_gap")
def a_call_that_nobody_records(*, again):
    if again:
        FakeListLLM(responses=["hello"]).invoke("hi")


@case(False, "capture_gap")
def a_connection(*, again):
    if again:
        socket.getaddrinfo("localhost", 80)


def stranger(found):
    try:
        agents.ask("mine")
    except wb.errors.LiveCallBlocked as error:
        found.append(error)


@pytest.fixture
def lost():
    """Give a thread that makes a call in no session when it is told to."""
    begin, found = threading.Event(), []
    thread = threading.Thread(target=lambda: begin.wait(9) and stranger(found))
    thread.start()

    def call():
        begin.set()
        thread.join()

    yield call, found
    call()


def played(do, *, collect):
    again = []

    def agent(_):
        agents.ask("before")
        do(again=bool(again))
        agents.ask("after")

    run = wb.record(Shelf(), agent, "x")
    again.append(True)
    return run, wb.replay(run, agent, into=Shelf(), collect=collect)


def came_to_the_end(run, result):
    return run.calls["seq"][-1] in result.matches["source_seq"].to_list()


@pytest.mark.parametrize("name", CASES)
def test_it_goes_on_where_something_was_recorded_and_ends_where_nothing_was(world, name):
    do, goes_on, kinds = CASES[name]
    run, result = played(do, collect=True)
    told = [found.kind for found in result.divergences]
    assert told[: len(kinds)] == kinds
    assert came_to_the_end(run, result) == goes_on
    assert result.run.status == "diverged"
    assert not result.identical


@pytest.mark.parametrize("name", CASES)
def test_without_collecting_the_first_difference_is_told_and_no_other_call_is_answered(world, name):
    do, _, kinds = CASES[name]
    run, result = played(do, collect=False)
    assert result.divergences[0].kind == kinds[0]
    assert not result.identical
    if name != "a_stream_left_early":  # it is noticed when nothing is asked any more
        assert not came_to_the_end(run, result)


@pytest.mark.parametrize("collect", [True, False])
def test_a_call_by_code_that_lost_its_session_ends_both(world, lost, collect):
    call, found = lost

    def do(*, again):
        if again:
            call()

    run, result = played(do, collect=collect)
    assert [one.kind for one in result.divergences] == ["capture_gap"]
    assert len(found) == 1
    assert not came_to_the_end(run, result)
