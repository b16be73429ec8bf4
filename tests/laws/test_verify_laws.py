"""Laws of verify, over any program: whatever byte of a recording or certificate is changed, it is told.

``WORKBENCH_LAW_EXAMPLES`` says how many programs each law is held to.
"""

import json

import msgspec
from forging import changed, forged
from hypothesis import assume, given
from hypothesis import strategies as st
from laws import drawing
from laws.recorded import certified, recorded
from laws.test_laws import cases, law

import workbench as wb
from workbench import errors, hashing, schema


def failed(run):
    """Return the names of the checks that fail."""
    return {check.name for check in wb.verify(run).checks if not check.ok}


def event_of(data, run):
    return drawing.one_of(data, run.event_log())


def planted(run, log):
    """Put a log in the place of a run's own, as it is: nothing is sealed or numbered anew."""
    run.store._sinks[run.run_id].log[:] = log
    return run.store.run(run.run_id)


@law
@given(cases)
def test_what_was_recorded_and_what_was_replayed_verify(case):
    run = recorded(*case).run
    assert failed(run) == set()
    assert failed(certified(run)) == set()


@law
@given(cases, st.data())
def test_another_byte_of_an_event_is_found(case, data):
    run = recorded(*case).run
    event = event_of(data, run)
    form = json.loads(msgspec.json.encode(event))
    made = drawing.with_another_byte(data, form)
    try:
        other = schema.parse_event(hashing.dumps(made))
    except errors.WorkbenchError:
        return  # it is no event any more
    assume(msgspec.json.encode(other) != msgspec.json.encode(event))
    log = [other if one.seq == event.seq else one for one in run.event_log()]
    assert failed(planted(run, log))


@law
@given(st.tuples(drawing.programs_with_a_message, drawing.entries, drawing.seeds), st.data())
def test_another_byte_of_a_message_is_found(case, data):
    run = recorded(*case).run
    bodies = run.bodies()
    digest = drawing.one_of(data, sorted(bodies))
    bodies[digest] = drawing.with_another_byte(data, bodies[digest])
    assert "run.bodies" in failed(run.store.run(run.run_id))


@law
@given(cases, st.data())
def test_another_byte_of_a_certificate_is_found(case, data):
    made = certified(recorded(*case).run)
    label = made.labels["certificate"]
    raw = made.store._artifacts[label]
    at = drawing.one_of(data, range(len(raw)))
    byte = raw[at] ^ data.draw(st.integers(1, 255))
    made.store._artifacts[label] = raw[:at] + bytes([byte]) + raw[at + 1 :]
    assert failed(made)


# ---- whole events


@law
@given(cases, st.data())
def test_a_dropped_doubled_or_swapped_event_is_found(case, data):
    run = recorded(*case).run
    log = run.event_log()
    one, other = (drawing.one_of(data, range(len(log))) for _ in range(2))
    assume(one != other)
    mutants = {
        "dropped": log[:one] + log[one + 1 :],
        "doubled": [*log[:other], log[one], *log[other:]],
        "swapped": [log[{one: other, other: one}.get(at, at)] for at in range(len(log))],
    }
    mutant = mutants[drawing.one_of(data, sorted(mutants))]
    if data.draw(st.booleans()):  # the store counts them anew
        mutant = [changed(event, seq=seq) for seq, event in enumerate(mutant, start=1)]
    assert failed(planted(run, mutant))


@law
@given(cases, st.data())
def test_a_log_that_was_changed_and_sealed_anew_is_not_that_of_its_certificate(case, data):
    run = recorded(*case).run
    made = certified(run)
    seq = event_of(data, run).seq
    mutants = {
        "dropped": forged(run, dropped={seq}),
        "doubled": forged(run, after={seq: [run.event_log()[seq - 1]]}),
    }
    mutant = mutants[drawing.one_of(data, sorted(mutants))]
    planted(run, mutant.event_log())
    assert "source.log_root" in failed(made)
