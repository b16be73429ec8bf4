"""What was changed is found: in a log, its messages, a certificate; and what cannot be is said."""

import json
import random

import msgspec
import pytest
import replay_agents as agents
from handmade import short_run
from hypothesis import given, settings
from hypothesis import strategies as st
from shelf import Shelf

import workbench as wb
from workbench import errors, hashing, recording
from workbench.capture import RecordingWarning
from workbench.replay import certificate, checking, keeping
from workbench.schema import RunPatch
from workbench.store import Run

AGENT = "workbench.examples.support_desk:agent"


@pytest.fixture(scope="module")
def shelf():
    return Shelf()


@pytest.fixture(scope="module")
def run():
    store = wb.open("datasets")
    return store.run(store.runs()["run_id"][0])


@pytest.fixture(scope="module")
def result(run, shelf):
    """A replay of a recorded run, both in one store."""
    sink = shelf.writer(shelf.header_of(run))
    sink.append(run.event_log(), run.bodies())
    return wb.replay(shelf.run(sink.run_id), AGENT, into=shelf)


def failed(verified):
    return {check.name for check in verified.failed}


def test_a_recording_and_its_replay_hold(run, result):
    alone, both = wb.verify(run), wb.verify(result.run)

    assert (alone.ok, both.ok) == (True, True), str(both)
    assert {check.name for check in both.checks} >= {
        "certificate.digest", "source.log_root", "replay.log_root", "identical", "match_levels",
    }  # fmt: skip
    assert str(both).endswith("verified")


def test_a_certificate_is_canonical_sealed_and_saved_as_it_is(result, tmp_path):
    path = result.save(tmp_path / "certificate.json")
    document = json.loads(path.read_bytes())

    assert document == result.certificate
    assert document["digest"] == certificate.digest_of(document)
    assert keeping.kept(result.run) == path.read_bytes()
    assert wb.verify(path, store=result.run.store).ok


def test_a_certificate_counts_what_the_runs_hold(result):
    said = result.certificate["source"]

    assert said["events"] == said["last_seq"] == sum(said["writers"].values())
    assert said["first_seq"] == 1
    assert said["content_root"] == result.certificate["replay"]["content_root"]
    assert said["log_root"] != result.certificate["replay"]["log_root"]


def test_numbers_beyond_what_a_certificate_can_hold_are_written_as_text(run):
    read = recording.read(run.event_log(), run.bodies())
    document = certificate.of_recording(read, {**run.info, "run_id": "x"})
    large = certificate._sayable({"a": [2**60, -(2**53), 2**53 - 1]})

    assert certificate.load(certificate.dumps(document), where="here") == document
    assert large == {
        "a": [{"$type": "int", "$value": str(2**60)}, {"$type": "int", "$value": str(-(2**53))}, 2**53 - 1]
    }  # fmt: skip


# ---- logs


def log_of(run):
    return run.event_log(), run.bodies()


def checked(events, bodies):
    return {check.name for check in checking.check_log(events, bodies)[0] if not check.ok}


@pytest.fixture(scope="module")
def log(run):
    return log_of(run)


def numbered(events):
    return [msgspec.structs.replace(e, seq=number) for number, e in enumerate(events, 1)]


def sealed(events):
    return [hashing.sealed(msgspec.structs.replace(e, digest=None)) for e in events]


CHANGES = {
    "name": lambda e: (e.name or "") + "x",
    "lane": lambda e: (e.lane or "") + "x",
    "status": lambda e: "ok" if e.status != "ok" else "error",
    "started_at": lambda e: None if e.started_at else wb.clock.now(),
    "cost_usd": lambda e: (e.cost_usd or 0) + 1.0,
    "kind": lambda e: "tool" if e.kind != "tool" else "model",
    "writer": lambda e: e.writer + "x",
    "writer_seq": lambda e: e.writer_seq + 1,
    "signature": lambda _: "0" * 64,
    "digest": lambda _: "0" * 64,
    "seq": lambda e: e.seq + 1,
}


@pytest.mark.parametrize("name", CHANGES)
def test_every_fact_of_an_event_is_covered(log, name):
    events, bodies = log
    rng = random.Random(7)
    for at in rng.sample(range(len(events)), 5):
        changed = msgspec.structs.replace(events[at], **{name: CHANGES[name](events[at])})
        assert checked([*events[:at], changed, *events[at + 1 :]], bodies)


@settings(max_examples=60)
@given(st.data())
def test_any_other_byte_of_a_body_of_an_event_is_found(log, data):
    events, bodies = log
    at = data.draw(st.integers(0, len(events) - 1))
    payload = bytearray(bytes(events[at].payload))
    payload[data.draw(st.integers(0, len(payload) - 1))] ^= data.draw(st.integers(1, 255))
    changed = msgspec.structs.replace(events[at], payload=msgspec.Raw(bytes(payload)))

    assert "events" in checked([*events[:at], changed, *events[at + 1 :]], bodies)


@settings(max_examples=30)
@given(st.data())
def test_any_other_byte_of_a_message_is_found(log, data):
    events, bodies = log
    digest = data.draw(st.sampled_from(sorted(bodies)))
    text = json.dumps(bodies[digest])
    at = data.draw(st.integers(0, len(text) - 1))
    changed = (
        text[:at] + data.draw(st.characters(min_codepoint=32, max_codepoint=126)) + text[at + 1 :]
    )
    try:
        body = json.loads(changed)
    except ValueError:
        return  # no message at all
    if not isinstance(body, dict) or body == bodies[digest]:
        return

    assert "bodies" in checked(events, {**bodies, digest: body})


def test_a_message_that_is_named_has_to_be_there(log):
    events, bodies = log
    for digest in bodies:
        rest = {key: body for key, body in bodies.items() if key != digest}
        assert "named" in checked(events, rest)


@settings(max_examples=40)
@given(st.data())
@pytest.mark.parametrize("anew", [False, True], ids=["", "numbered anew"])
def test_dropped_doubled_and_swapped_events_are_found(log, anew, data):
    events, bodies = log
    at = data.draw(st.integers(0, len(events) - 1))
    other = data.draw(st.integers(0, len(events) - 1).filter(lambda n: n != at))
    swapped = list(events)
    swapped[at], swapped[other] = events[other], events[at]
    mutants = [
        [*events[:at], *events[at + 1 :]],
        [*events[:at], events[at], *events[at:]],
        swapped,
    ]
    for mutant in mutants:
        assert checked(numbered(mutant) if anew else mutant, bodies)


def test_two_events_of_one_writer_that_change_places_are_found_though_every_digest_holds():
    log = short_run()
    events = list(log.events)
    events[2], events[3] = events[3], events[2]
    mutant = numbered(events)

    found = checked(mutant, log.bodies)

    # `seq` stands in no digest: nothing but the order tells
    assert all(hashing.event_digest(event) == event.digest for event in mutant)
    assert found == {"order"}


def test_a_call_that_stands_twice_is_found_also_when_all_is_hashed_anew(log):
    events, bodies = log
    at = next(i for i, e in enumerate(events) if e.event_type == "call_started")
    doubled = [*events[: at + 1], events[at], *events[at + 1 :]]
    anew = [
        hashing.sealed(msgspec.structs.replace(e, writer_seq=n, seq=n, digest=None))
        for n, e in enumerate(doubled, 1)
    ]

    assert checked(anew, bodies) == {"positions"}


def test_a_request_that_was_changed_and_hashed_anew_has_another_signature(log):
    events, bodies = log
    at = next(
        i for i, e in enumerate(events) if e.kind == "tool" and e.event_type == "call_started"
    )
    body = json.loads(bytes(events[at].payload))
    body["request"]["arguments"] = {"other": True}
    changed = msgspec.structs.replace(events[at], payload=msgspec.Raw(hashing.dumps(body)))

    assert checked(sealed([*events[:at], changed, *events[at + 1 :]]), bodies) == {"signatures"}


def test_a_log_without_its_end_is_not_whole(log):
    events, bodies = log

    assert checked(events[:-1], bodies) == {"end"}


def test_a_log_that_cannot_be_read_is_said_to_be_so():
    log = short_run()
    event = log.events[1]
    broken = hashing.sealed(msgspec.structs.replace(event, payload=msgspec.Raw(b"[]"), digest=None))
    checks, read = checking.check_log([log.events[0], broken, *log.events[2:]], log.bodies)

    assert read is None
    assert "readable" in {check.name for check in checks if not check.ok}


# ---- certificates


@settings(max_examples=80)
@given(st.data())
def test_any_other_byte_of_a_certificate_is_found(result, tmp_path_factory, data):
    raw = bytearray(certificate.dumps(result.certificate))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    path = tmp_path_factory.mktemp("c") / "certificate.json"
    path.write_bytes(bytes(raw))

    assert not wb.verify(path, store=result.run.store).ok


@pytest.mark.parametrize(
    "raw", [b"", b"{}", b"[]", b"\xff", b'{"format":"workbench-certificate","version":2}']
)
def test_what_is_no_certificate_is_not_verified(tmp_path, raw, shelf):
    path = tmp_path / "certificate.json"
    path.write_bytes(raw)

    assert failed(wb.verify(path, store=shelf)) == {"certificate"}


def resealed(document, **changed):
    document = {**document, **changed}
    return certificate.dumps({**document, "digest": certificate.digest_of(document)})


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"match_levels": {"exact": 1}}, {"match_levels"}),
        ({"calls": {"recorded": 1, "asked": 1, "consumed": 1, "unconsumed": 0}}, {"calls"}),
    ],
)
def test_a_certificate_that_says_something_else_than_the_runs_is_found(
    result, tmp_path, change, names
):
    path = tmp_path / "certificate.json"
    path.write_bytes(resealed(result.certificate, **change))

    assert failed(wb.verify(path, store=result.run.store)) == names


def test_a_certificate_of_other_runs_is_found(result, tmp_path, shelf):
    other = {**result.certificate["source"], "events": 7, "log_root": "0" * 64, "header": "0" * 64}
    path = tmp_path / "certificate.json"
    path.write_bytes(resealed(result.certificate, source=other))

    assert failed(wb.verify(path, store=shelf)) == {
        "source.events", "source.log_root", "source.header",
    }  # fmt: skip


def test_a_certificate_alone_proves_nothing(result, tmp_path):
    path = result.save(tmp_path / "certificate.json")

    with pytest.raises(errors.UsageError, match="compared with the runs"):
        wb.verify(path)
    with pytest.raises(errors.UsageError, match="no such file"):
        wb.verify(tmp_path / "none.json")
    assert failed(wb.verify(path, store=Shelf())) == {"runs"}


def test_a_certificate_that_the_store_lost_is_told_and_the_run_is_held_to_itself(run, tmp_path):
    shelf = Shelf()
    sink = shelf.writer(shelf.header_of(run))
    sink.append(run.event_log(), run.bodies())
    shelf.patch(sink.run_id, RunPatch(labels={keeping.LABEL: "0" * 64}))
    verified = wb.verify(shelf.run(sink.run_id))

    assert verified.ok
    assert "is not here" in str(verified)


# ---- counterfeits


@pytest.fixture
def recorded(world):
    return wb.record(Shelf(), "replay_agents:sequence", "x")


def counterfeit(run, seq, outcome, *, into=None):
    """Return a copy of a run in which a call gave something else, hashed and signed anew."""
    events = []
    for event in run.event_log():
        if event.event_type == "call_ended" and event.seq == seq:
            body = json.loads(bytes(event.payload))
            body["outcome"] = {"value": outcome}
            payload = msgspec.Raw(hashing.dumps(body))
            events.append(msgspec.structs.replace(event, payload=payload))
        else:
            events.append(event)
    return (into or Shelf()).forged(run, events)


@pytest.mark.parametrize("isolate", [False, True], ids=["guarded", "isolated"])
def test_a_recording_run_again_comes_to_the_same(recorded, world, isolate):
    world.poisoned = True
    verified = wb.verify(recorded, rerun=True, isolate=isolate)

    assert verified.ok, str(verified)
    assert {"rerun.code", "rerun.identical", "rerun.content_root"} <= {
        c.name for c in verified.checks
    }


@pytest.mark.parametrize("at", [0, 1], ids=["a later request depends", "the output depends"])
def test_a_counterfeit_passes_verify_and_fails_when_it_is_run_again(recorded, world, at):
    call = recorded.calls.row(at, named=True)
    forged = counterfeit(recorded, call["ended_seq"], {"what": "first", "answer": 99})

    assert wb.verify(forged).ok
    assert "rerun.identical" in failed(wb.verify(forged, rerun=True, isolate=False))


def test_a_counterfeit_with_a_certificate_of_its_own_fails_when_it_is_run_again(recorded, world):
    result = wb.replay(recorded)
    sides, store = {}, Shelf()
    for side, run in (("source", recorded), ("replay", result.run)):
        seq = run.calls["ended_seq"][0]
        made = counterfeit(run, seq, {"what": "first", "answer": 99}, into=store)
        read = recording.read(made.event_log(), made.bodies())
        sides[side] = certificate.facts(read, made.info)
    sha256 = store.put_artifact(resealed(result.certificate, **sides))
    store.patch(sides["replay"]["run_id"], RunPatch(labels={keeping.LABEL: sha256}))
    forged = store.run(sides["replay"]["run_id"])

    assert wb.verify(forged).ok, str(wb.verify(forged))
    assert failed(wb.verify(forged, rerun=True, isolate=False)) >= {
        "rerun.identical", "rerun.content_root",
    }  # fmt: skip


def test_what_neither_can_notice(recorded, world):
    """The third call's answer is read by nobody: the README says so."""

    def ignoring(_):
        agents.ask("first")
        return "done"

    run = wb.record(Shelf(), ignoring, "x")
    forged = counterfeit(run, run.calls["ended_seq"][0], {"what": "first", "answer": 99})

    assert wb.verify(forged, agent=ignoring, rerun=True, isolate=False).ok
    assert forged.content_root != run.content_root


def test_a_replay_is_run_again_as_it_was_certified(recorded, world):
    exact = wb.replay(recorded, into=recorded.store)
    other = wb.replay(recorded, "replay_agents:polling", into=recorded.store)

    assert not other.identical
    assert wb.verify(exact.run, rerun=True, isolate=False).ok
    assert wb.verify(other.run, rerun=True, agent="replay_agents:polling", isolate=False).ok
    # the wrong agent comes to something else
    assert failed(wb.verify(exact.run, rerun=True, agent="replay_agents:polling", isolate=False)) >= {
        "rerun.identical", "rerun.content_root",
    }  # fmt: skip


def test_a_fork_is_run_again_from_what_it_recorded_itself(recorded, world):
    assert wb.replay(recorded).identical
    fork = wb.fork(recorded, at=recorded.calls["seq"][2], edits={"outcome": "edited"}).run()
    verified = wb.verify(fork.run, rerun=True, isolate=False)

    assert verified.ok, str(verified)


def test_another_code_is_named(recorded, world):
    result = wb.replay(recorded, into=recorded.store)
    other = dict.fromkeys(result.certificate["code"]["modules"], "0" * 64)
    document = {**result.certificate, "code": {**result.certificate["code"], "modules": other}}
    store = recorded.store
    path = store.put_artifact(resealed(document))
    store.patch(result.run.run_id, RunPatch(labels={keeping.LABEL: path}))

    found = wb.verify(store.run(result.run.run_id), rerun=True, isolate=False)
    assert failed(found) == {"rerun.code"}
    assert found.failed[0].found


def test_nothing_is_run_again_where_the_log_does_not_hold(recorded, world):
    store = recorded.store
    events = recorded.event_log()
    store._sinks[recorded.run_id].log[3] = msgspec.structs.replace(events[3], name="other")
    calls = world.calls
    found = wb.verify(Run(store, recorded.info), rerun=True, isolate=False)

    assert failed(found) == {"run.events", "rerun"}
    assert world.calls == calls


def test_a_store_that_fails_leaves_the_result_and_says_so(recorded, world, monkeypatch):
    def broken(data):
        raise errors.Unavailable("the store went away")

    monkeypatch.setattr(recorded.store, "put_artifact", broken)
    with pytest.warns(RecordingWarning, match="could not be stored"):
        result = wb.replay(recorded)

    assert result.identical
    assert keeping.kept(result.run) is None
