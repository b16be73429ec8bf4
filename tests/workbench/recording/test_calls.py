"""Calls that are put aside are those that were read, in whatever order they are asked for."""

import random
import tracemalloc

import msgspec
import pytest
from handmade import Log, any_log
from hypothesis import given
from hypothesis import strategies as st
from shelf import Shelf as Store

import workbench as wb
from workbench import frames, recording, schema, sharing
from workbench.recording import shelf


@pytest.fixture
def aside(monkeypatch):
    """Everything is written to the file at once."""
    monkeypatch.setattr(shelf, "IN_MEMORY", 1)
    monkeypatch.setattr(shelf.Shelf.__init__, "__kwdefaults__", {"in_memory": 1})


# ---- what is read


@given(any_log())
def test_a_call_is_what_its_events_say(log):
    read = recording.read(log.events, log.bodies)
    starts = [event for event in log.events if event.event_type == "call_started"]
    ends = {event.step_id: event for event in log.events if event.event_type == "call_ended"}
    assert len(read.calls) == len(starts)
    for call, start in zip(read.calls, starts, strict=True):
        end = ends.get(start.step_id)
        came = schema.CallEnded() if end is None else schema.parse_body(end)
        assert (call.seq, call.lane, call.ordinal) == (
            start.seq,
            start.lane or "root",
            start.ordinal,
        )
        assert (call.kind, call.name, call.signature) == (start.kind, start.name, start.signature)
        assert call.request == schema.parse_body(start).request
        assert (call.outcome, call.exception) == (came.outcome, came.exception)
        assert call.ended_seq == (end and end.seq)
        assert read.at(call.lane, call.ordinal) == call
        assert read.calls[read.calls.number_of(call.seq)] == call


@given(any_log(), st.integers(1, 5))
def test_pieces_of_frames_read_as_all_events_at_once(log, rows):
    frame = frames.from_events(log.events)
    in_pieces = frames.recorded(frame.iter_slices(rows), log.bodies)
    whole = recording.read(log.events, log.bodies)
    assert list(in_pieces.calls) == list(whole.calls)
    told = ("log_root", "content_root", "events", "first_seq", "last_seq", "writers", "problems")
    assert [getattr(in_pieces, name) for name in told] == [getattr(whole, name) for name in told]


def test_a_number_far_behind_the_others_takes_no_room():
    log = Log()
    log.begin()
    numbers = [2, 10**15, 1, 2, 1_500, 10**15]
    for ordinal in numbers:
        start = log.start("tool", "x", {"n": ordinal})
        log.events[-1] = msgspec.structs.replace(
            start, ordinal=ordinal, step_id=str(len(log.events)), digest=None
        )
    calls = recording.read(log.events, {}).calls
    assert [calls.number_at("root", ordinal) for ordinal in (1, 2, 3, 1_500, 10**15)] == [
        2, 0, None, 4, 1,
    ]  # fmt: skip
    assert calls.in_lane("root") == [2, 0, 4, 1]
    assert list(calls.by_lane()["root"]) == [2, 0, 3, 4, 1, 5]


def test_what_comes_in_another_order_is_put_together():
    """An end before its start, pieces before and behind the end, as several writers may send."""
    log = Log()
    log.begin()
    asked = log.start("model", "m", {"n": 1})
    first = log.add("chunk", schema.Chunk(index=1, pieces=["b"]), step_id=asked.step_id)
    ended = log.end(asked, {"value": "abc"})
    late = [
        log.add("chunk", schema.Chunk(index=index, pieces=[piece]), step_id=asked.step_id)
        for index, piece in ((2, "c"), (0, "a"))
    ]
    begun = log.events[0]
    in_order = recording.read(log.events, {}).calls[0]
    mixed = recording.read([begun, ended, first, asked, *late], {}).calls[0]
    assert in_order == mixed
    assert in_order.pieces == (["a"], ["b"], ["c"])


# ---- conversations


def conversation(turns, lanes=1):
    """Requests of several lanes, each of which holds all that was said before in its lane."""
    log, folding = Log(), sharing.Folding()
    log.begin()
    said = {lane: [] for lane in range(lanes)}
    for turn in range(turns):
        for lane, messages in said.items():
            messages += [log.message(role="user", content=f"{lane} {turn} {n}") for n in (1, 2)]
            whole = {"messages": list(messages), "tools": [{"name": "x"}]}
            asked = log.start("model", "m", whole, lane=f"root/{lane}")
            folded = folding.fold(f"root/{lane}", asked.step_id, whole)
            payload = msgspec.Raw(msgspec.json.encode({"request": folded}))
            log.events[-1] = msgspec.structs.replace(asked, payload=payload, digest=None)
            log.end(asked, {"value": turn})
    log.finish()
    return log, said


@pytest.mark.parametrize("lanes", [1, 3, 200])
def test_a_request_is_whole_in_whatever_order_it_is_asked_for(lanes):
    log, said = conversation(300 // lanes + 2, lanes)
    read = recording.read(log.events, log.bodies)
    assert read.problems == ()
    numbers = list(range(len(read.calls)))
    random.Random(1).shuffle(numbers)
    for number in [*numbers[:40], len(numbers) - 1, 0]:
        call = read.calls[number]
        lane = int(call.lane.rpartition("/")[2])
        assert call.request["messages"] == said[lane][: 2 * call.ordinal]
        assert call.request["tools"] == [{"name": "x"}]


def test_requests_that_name_one_another_in_a_circle_end():
    log = Log()
    log.begin()
    for one, other in (("a", "b"), ("b", "a")):
        request = {"messages": [{"call": other, "first": 1}, "x"]}
        log.start("model", "m", request, step_id=one)
    read = recording.read(log.events, {})
    assert all(call.request["messages"][-1] == "x" for call in read.calls)


# ---- what is held


def held(count):
    """The bytes that are held by reading a run of calls, and at the most while they are answered.

    Of frames nothing is counted: they are made before.
    """
    log = Log()
    log.begin()
    text = "what was asked and what was said of it " * 10
    for number in range(count):
        asked = log.start("tool", "x", {"text": text, "n": number})
        log.end(asked, {"value": {"text": text, "n": number}})
    log.finish()
    frame = frames.from_events(log.events)
    tracemalloc.start()
    read = frames.recorded(frame.iter_slices(1_000), {})
    between, _ = tracemalloc.get_traced_memory()
    for call in read.calls:
        assert call.outcome["value"]["text"] == text
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return between, most


def test_a_call_is_held_by_what_finds_it(aside):
    """A hundred bytes or two; its request and answer alone have eight hundred."""
    small, large = held(500), held(4_500)
    assert large[0] - small[0] < 4_000 * 250
    assert large[1] - small[1] < 4_000 * 450  # while it is read its step is known by name


def test_calls_that_are_kept_would_be_noticed(aside, monkeypatch):
    kept = []
    keep = recording.Calls.keep
    monkeypatch.setattr(
        recording.Calls,
        "keep",
        lambda self, number, fields, **said: (
            kept.append([bytes(one) if isinstance(one, msgspec.Raw) else one for one in fields]),
            keep(self, number, fields, **said),
        ),
    )
    with pytest.raises(AssertionError):
        test_a_call_is_held_by_what_finds_it(None)


# ---- replays of what lies in the file


@wb.call(effect="read")
def looked_up(what):
    return {"what": what}


def agent(count):
    return [looked_up(f"{number} " * 20)["what"][:3] for number in range(count)]


def test_a_replay_reads_from_the_file_what_it_would_from_memory(aside):
    store = Store()
    run = wb.record(store, agent, 50)
    result = wb.replay(run, agent)
    assert result.identical
    assert result.matches["source_seq"].to_list() == run.calls["seq"].to_list()
    again = wb.replay(run, agent, mode="cached", overrides={"tool:looked_up": "exact"})
    assert again.identical
