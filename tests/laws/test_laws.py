"""Laws of replay, over any program: what is the same is found the same, and what was changed is found.

``WORKBENCH_LAW_EXAMPLES`` says how many programs each law is held to.
"""

import os

import pytest
from forging import body, calls_of, changed, forged
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from laws import drawing, programs
from laws.recorded import OUTPUT, asked_at, named, recorded, replayed, with_payload
from strengths import isolated

from workbench import errors, hashing

EXAMPLES = int(os.environ.get("WORKBENCH_LAW_EXAMPLES") or 30)
law = settings(max_examples=EXAMPLES)
few = settings(max_examples=max(3, EXAMPLES // 30))

cases = st.tuples(drawing.programs, drawing.entries, drawing.seeds)


def a_call(data, run):
    return drawing.one_of(data, sorted(run.pairs))


def first(result):
    assert not result.identical
    return result.divergences[0]


# ---- what was not changed


@law
@given(cases)
def test_a_replay_is_identical_and_leaves_its_recording_alone(case):
    run = recorded(*case)
    before = run.run.digest
    for mode in ("exact", "cached"):
        result = replayed(run.run, mode=mode)
        assert result.divergences == []
        assert result.identical
        assert set(result.matches["match_level"]) == {"exact"}
        assert result.run.content_root == run.run.content_root
        assert result.run.status == run.run.status
    assert run.run.refresh().digest == before


@isolated
@few
@given(cases)
def test_an_isolated_replay_is_identical(case):
    run = recorded(*case)
    result = replayed(run.run, isolate=True)
    assert result.divergences == []
    assert result.identical
    assert result.run.content_root == run.run.content_root


@law
@given(cases)
def test_a_log_written_anew_without_a_change_replays_identically(case):
    run = recorded(*case)
    assert replayed(forged(run.run)).identical


@pytest.mark.parametrize("kind", programs.KINDS)
def test_nothing_can_be_called_when_no_recording_is_made(kind):
    part = {"do": "call", "kind": kind, "says": "a", "uses": [], "shown": True}
    with pytest.raises(programs.Poisoned):
        programs.run({"parts": [part], "raises": False})


# ---- a request


def other_request(data, run, key, *, signed=True):
    start, _ = run.pairs[key]
    request = drawing.with_another_byte(data, body(start)["request"])
    made = with_payload(start, {"request": request})
    if signed:
        signature = hashing.signature_of(kind=start.kind, name=start.name, request=request)
        made = changed(made, signature=signature)
    return forged(run.run, replaced={start.seq: made})


@law
@given(cases, st.data())
def test_another_byte_in_a_request_is_found_at_that_call(case, data):
    run = recorded(*case)
    key = a_call(data, run)
    found = first(replayed(other_request(data, run, key)))
    assert named(found, run) == key


@law
@given(cases, st.data())
def test_another_byte_in_a_request_is_found_at_that_call_in_cached_too(case, data):
    run = recorded(*case)
    key = a_call(data, run)
    assume(not run.alike(key))  # cached, another poll that asked the same may answer first
    found = first(replayed(other_request(data, run, key), mode="cached"))
    assert named(found, run) == key


@law
@given(cases, st.data())
def test_another_byte_in_a_request_that_is_not_signed_anew_is_refused(case, data):
    run = recorded(*case)
    mutant = other_request(data, run, a_call(data, run), signed=False)
    with pytest.raises(errors.RecordingIncomplete, match="signature"):
        replayed(mutant)


# ---- what came back


def other_end(data, run, key):
    """Change a byte of what a call's end holds; return the run, and whether an agent is given it.

    An exception is built of its class and arguments, a stream's pieces are in its chunks.
    """
    start, end = run.pairs[key]
    whole = body(end)
    part = drawing.one_of(data, [name for name in ("outcome", "exception") if name in whole])
    value = drawing.with_another_byte(data, whole[part])
    given = part == "outcome" and not run.chunks_of(start)
    if part == "exception":
        kept = {"args": whole[part]["args"], **value}  # without them its message stands for them
        given = any(kept.get(name) != whole[part][name] for name in ("class", "args"))
    made = with_payload(end, {**whole, part: value})
    return forged(run.run, replaced={end.seq: made}), given, value


def other_piece(data, run, key):
    chunk = drawing.one_of(data, run.chunks_of(run.pairs[key][0]))
    whole = body(chunk)
    pieces = drawing.with_another_byte(data, whole["pieces"])
    return forged(run.run, replaced={chunk.seq: with_payload(chunk, {**whole, "pieces": pieces})})


def other_message(data, run, key):
    """Change a byte of a message's text, and its digest wherever it is named."""
    _, end = run.pairs[key]
    whole = run.run.bodies()[body(end)["outcome"]["message"]]
    content = drawing.with_another_byte(data, whole, within=whole["content"])
    digest = hashing.digest_of(content)
    made = with_payload(end, {**body(end), "outcome": {"message": digest}})
    return forged(run.run, replaced={end.seq: made}, bodies={digest: content})


def goes_on(run, key, value):
    """Say whether a poll goes on after an answer."""
    return programs.is_waiting((value or {}).get("value")) if run.made[key].do == "poll" else None


@law
@given(cases, st.data())
def test_another_byte_of_an_outcome_is_found_at_the_first_that_depends_on_it(case, data):
    run = recorded(*case)
    key = a_call(data, run)
    start, end = run.pairs[key]
    given, value = True, None
    if "message" in (body(end).get("outcome") or {}):
        mutant = other_message(data, run, key)
    elif run.chunks_of(start) and data.draw(st.booleans()):
        mutant = other_piece(data, run, key)
    else:
        mutant, given, value = other_end(data, run, key)
    result = replayed(mutant)
    if goes_on(run, key, value) != goes_on(run, key, body(end).get("outcome")):
        check_length(run, key, result)
        return
    expected = run.depending_on(key)
    if not expected or not given:
        assert result.identical or named(first(result), run) in expected
        return
    assert named(first(result), run) in expected


def check_length(run, key, result):
    """A poll ended sooner or went on: found at what came after it, or at the one poll more."""
    found = first(result)
    lane, ordinal = run.position(key)
    if asked_at(found) != (lane, ordinal + 1):
        assert named(found, run) in run.after(key) | {OUTPUT}


# ---- whole events


def refused_or(replay, mutant):
    """Return the first difference of an exact replay, or None where the recording is refused."""
    try:
        return first(replay(mutant))
    except (errors.RecordingIncomplete, errors.NotReplayable):
        return None


_TOLD = ("run_started", "call_started", "call_ended", "run_ended")


@law
@given(cases, st.data())
def test_a_dropped_event_is_refused_or_found_at_its_call(case, data):
    run = recorded(*case)
    log = [event for event in run.run.event_log() if event.event_type in _TOLD]
    event = drawing.one_of(data, log)
    found = refused_or(replayed, forged(run.run, dropped={event.seq}))
    if found is not None:
        assert asked_at(found) == (event.lane, event.ordinal)


@law
@given(cases, st.data())
def test_a_dropped_call_is_found_where_it_was(case, data):
    run = recorded(*case)
    start, end = run.pairs[a_call(data, run)]
    chunks = {chunk.seq for chunk in run.chunks_of(start)}
    found = first(replayed(forged(run.run, dropped={start.seq, end.seq, *chunks})))
    assert asked_at(found) == (start.lane, start.ordinal)


@law
@given(cases, st.data())
def test_a_doubled_call_is_refused_or_found_where_it_is(case, data):
    run = recorded(*case)
    start, end = run.pairs[a_call(data, run)]
    again = [changed(event, step_id=f"{event.step_id}-again") for event in (start, end)]
    found = refused_or(replayed, forged(run.run, after={end.seq: again}))
    if found is not None:
        assert asked_at(found) == (start.lane, start.ordinal)


@law
@given(cases, st.data())
def test_swapped_calls_are_found_at_the_first_that_is_in_the_wrong_place(case, data):
    run = recorded(*case)
    one, other = a_call(data, run), a_call(data, run)
    assume(run.pairs[one][0].signature != run.pairs[other][0].signature)
    swapped = {}
    for key, place in ((one, other), (other, one)):
        lane, ordinal = run.position(place)
        for event, there in zip(run.pairs[key], run.pairs[place], strict=True):
            swapped[there.seq] = changed(event, lane=lane, ordinal=ordinal)
        for chunk in run.chunks_of(run.pairs[key][0]):
            swapped[chunk.seq] = changed(chunk, lane=lane, ordinal=ordinal)
    found = first(replayed(forged(run.run, replaced=swapped)))
    later = {key for key in (one, other) if run.made[key].past & {one, other}}
    assert asked_at(found) in {run.position(key) for key in {one, other} - later}


@law
@given(st.tuples(drawing.programs_with_twins, drawing.entries, drawing.seeds), st.data())
def test_swapped_outcomes_are_found_at_the_first_that_depends_on_one(case, data):
    run = recorded(*case)
    one = a_call(data, run)
    others = [key for key in run.alike(one) if exchangeable(run, one, key)]
    assume(others)
    other = drawing.one_of(data, others)
    (_, mine), (_, theirs) = run.pairs[one], run.pairs[other]
    swapped = {
        mine.seq: changed(mine, payload=theirs.payload),
        theirs.seq: changed(theirs, payload=mine.payload),
    }
    result = replayed(forged(run.run, replaced=swapped))
    expected = run.depending_on(one, other)
    assert result.identical == (not expected)
    if expected:
        assert named(first(result), run) in expected


def exchangeable(run, one, other):
    """Say whether the agent goes on in the same way if two calls change what they gave back."""
    if any(run.chunks_of(run.pairs[key][0]) for key in (one, other)):
        return False
    came = [body(run.pairs[key][1]) for key in (one, other)]
    ways = [
        ("exception" in b, programs.is_waiting((b.get("outcome") or {}).get("value"))) for b in came
    ]
    return ways[0] == ways[1]


# ---- the least program that shows it

_TWO = [{"do": "call", "kind": "tool", "says": word, "uses": [], "shown": True} for word in "ab"]


@pytest.mark.parametrize("event_type", _TOLD)
def test_a_doubled_event_is_refused(event_type):
    run = recorded({"parts": _TWO, "raises": False}, "run", 0)
    event = next(e for e in run.run.event_log() if e.event_type == event_type)
    assert refused_or(replayed, forged(run.run, after={event.seq: [event]})) is None


def test_calls_of_a_lane_that_swapped_places_in_the_log_are_refused():
    run = recorded({"parts": _TWO, "raises": False}, "run", 0)
    (one, _), (other, _) = calls_of(run.run)
    mutant = forged(run.run, replaced={one.seq: other, other.seq: one})
    assert refused_or(replayed, mutant) is None
