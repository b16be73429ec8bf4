"""What a certificate says of a new run is what it would say of its recording."""

import msgspec
import pytest
from handmade import Log, any_log
from hypothesis import given
from hypothesis import strategies as st

from workbench import frames, hashing, recording, schema
from workbench.replay import certificate

ROW = {"run_id": "r"}


def both(events, rows=10_000):
    frame = frames.from_events(events)
    read = recording.read(events, {})
    return frames.written(frame.iter_slices(rows), []), read


@given(any_log(), st.integers(1, 5))
def test_a_new_run_and_its_recording_have_the_same_facts(log, rows):
    written, read = both(log.events, rows)
    assert certificate.facts(written, ROW) == certificate.facts(read, ROW)


def streamed():
    log = Log()
    log.begin()
    asked = log.start("model", "m", {"n": 1}, lane="root/2")
    for index, piece in ((1, "b"), (0, "a")):
        log.add("chunk", schema.Chunk(index=index, pieces=[piece]), step_id=asked.step_id)
    log.end(asked, {"value": "ab"})
    log.end(log.start("tool", "t", {}), raised={"class": "a:B", "message": "", "args": []})
    log.start("tool", "never", {})
    return log


def test_streams_failures_and_what_never_came_back_are_in_the_root():
    written, read = both(streamed().events)
    assert written.content_root == read.content_root
    assert written.log_root == read.log_root


@pytest.mark.parametrize("number", range(len(streamed().events)))
def test_another_event_gives_other_facts(number):
    events = streamed().events
    written, _ = both(events)
    events[number] = hashing.sealed(msgspec.structs.replace(events[number], name="other"))
    changed, _ = both(events)
    assert changed.log_root != written.log_root


@pytest.mark.parametrize(
    "spoil",
    [
        lambda e: [*e[:2], e[4], *e[2:4], *e[5:]],  # an end before its pieces
        lambda e: [*e[:2], *e[1:]],  # a start twice
        lambda e: [*e, e[4]],  # an end twice
        lambda e: [e[0], *e[2:]],  # an end without its start
        lambda e: [e[0], msgspec.structs.replace(e[1], signature=None), *e[2:]],
        lambda e: [e[0], msgspec.structs.replace(e[1], digest=None), *e[2:]],
    ],
)
def test_what_no_recorder_writes_is_left_to_who_reads_it_as_a_recording(spoil):
    frame = frames.from_events(spoil(streamed().events))
    assert frames.written([frame], []) is None
