"""The laws of the log: order, repeats, conflicts, gaps, late events, all or nothing."""

import gzip
import json
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pyarrow as pa
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from speaking import a_message, a_model_call, a_whole_run, event, wire

from workbench import hashing


def code(answer):
    return answer.status_code, answer.json()["code"]


def notes(*numbers, writer="w", **fields):
    return [event("step_started", n, {"input": n}, writer=writer, **fields) for n in numbers]


def test_a_run_is_stored_and_read_back_as_it_was_sent(client):
    run_id = client.create(name="sum")
    events, bodies = a_whole_run()
    answer = client.send(run_id, events, bodies)
    assert answer.json() == {
        "accepted": 4, "duplicates": 0, "first_seq": 1, "last_seq": 4, "rejected": [],
    }  # fmt: skip
    read = client.events(run_id)
    assert [e["seq"] for e in read] == [1, 2, 3, 4]
    assert [e["digest"] for e in read] == [e.digest for e in events]
    for stored in read:
        assert stored.pop("received_at")
        digest, _ = stored.pop("digest"), stored.pop("seq")
        again = msgspec.convert(
            stored | {"payload": msgspec.Raw(hashing.dumps(stored.get("payload", {})))},
            type(events[0]),
            strict=False,
        )
        assert hashing.event_digest(again) == digest
    assert client.http.get(f"/runs/{run_id}/bodies").json() == bodies


def test_the_row_of_a_run_adds_up(client):
    run_id = client.create(name="sum")
    client.send(run_id, *a_whole_run())
    row = client.row(run_id)
    wanted = {
        "status": "done", "health": "ok", "events": 4, "steps": 1, "calls": 1, "model_calls": 1,
        "tool_calls": 0, "tool_errors": 0, "errors": 0, "input_tokens": 7, "output_tokens": 1,
        "cost_known_usd": 0.5, "cost_usd": 0.5, "unknown_cost_parts": 0, "duration_ms": 3000.0,
    }  # fmt: skip
    assert {name: row[name] for name in wanted} == wanted


def test_the_log_is_an_arrow_stream_on_request(client):
    run_id = client.create()
    events, bodies = a_whole_run()
    client.send(run_id, events, bodies)
    accept = {"Accept": "application/vnd.apache.arrow.stream"}

    def table(path):
        return pa.ipc.open_stream(client.http.get(path, headers=accept).content).read_all()

    everything = table(f"/runs/{run_id}/events")
    assert everything["seq"].to_pylist() == [1, 2, 3, 4]
    assert everything["payload"].to_pylist() == [bytes(e.payload).decode() for e in events]
    assert str(everything.schema.field("started_at").type) == "timestamp[us, tz=UTC]"
    assert "payload" not in table(f"/runs/{run_id}/events?columns=timeline").column_names
    kept = table(f"/runs/{run_id}/bodies").to_pylist()
    assert {row["digest"]: json.loads(row["body"]) for row in kept} == bodies


def test_events_are_read_from_a_place_on_and_no_more_than_wanted(client):
    run_id = client.create()
    client.send(run_id, notes(*range(1, 11)))
    read = client.events(run_id, after=3, limit=4)
    assert [e["seq"] for e in read] == [4, 5, 6, 7]
    assert client.events(run_id, after=10) == []


def test_an_empty_run_is_told_from_an_unknown_one(client):
    run_id = client.create()
    assert client.events(run_id) == []
    answer = client.http.get(f"/runs/{run_id[:-1]}{'0' if run_id[-1] != '0' else '1'}/events")
    assert code(answer) == (404, "run_not_found")
    assert run_id in answer.json()["hint"]


def test_sending_a_batch_again_changes_nothing(client):
    run_id = client.create()
    events, bodies = a_whole_run()
    client.send(run_id, events, bodies)
    before = client.row(run_id)
    answer = client.send(run_id, events, bodies).json()
    assert (answer["accepted"], answer["duplicates"], answer["first_seq"]) == (0, 4, None)
    assert client.row(run_id) == before


def test_an_overlapping_batch_stores_only_what_is_new(client):
    run_id = client.create()
    client.send(run_id, notes(1, 2, 3))
    answer = client.send(run_id, notes(2, 3, 4, 5)).json()
    assert (answer["accepted"], answer["duplicates"]) == (2, 2)
    assert (answer["first_seq"], answer["last_seq"]) == (4, 5)


def test_a_number_used_for_another_event_is_a_conflict_that_shows_both(client):
    run_id = client.create()
    first, other = event("step_started", 1, {"input": 1}), event("step_started", 1, {"input": 2})
    client.send(run_id, [first])
    answer = client.send(run_id, [other])
    assert code(answer) == (409, "sequence_conflict")
    assert (answer.json()["expected"], answer.json()["found"]) == (first.digest, other.digest)
    assert code(client.send(run_id, [other, *notes(2)])) == (409, "sequence_conflict")
    within = client.send(client.create(), [first, other])
    assert code(within) == (409, "sequence_conflict")


def test_a_gap_is_refused_with_the_number_expected(client):
    run_id = client.create()
    client.send(run_id, notes(1, 2))
    answer = client.send(run_id, notes(4))
    assert code(answer) == (409, "sequence_gap")
    assert (answer.json()["expected"], answer.json()["found"]) == (3, 4)
    assert code(client.send(client.create(), notes(2))) == (409, "sequence_gap")


def test_a_batch_is_all_or_nothing_by_default(client):
    run_id = client.create()
    broken = b'{"event_type":"step_started","writer":"w","writer_seq":2,"colour":"red"}'
    digest, body = a_message("kept nowhere")
    answer = client.send(run_id, [*notes(1), broken], {digest: body})
    assert code(answer) == (422, "invalid_event")
    assert answer.json()["where"] == "events[1]"
    assert (client.row(run_id)["events"], client.events(run_id)) == (0, [])
    assert client.http.get(f"/runs/{run_id}/bodies").json() == {}


def test_the_valid_events_are_stored_where_the_caller_chooses_so(client):
    run_id = client.create()
    broken = b'{"event_type":"step_started","writer":"w","writer_seq":2,"colour":"red"}'
    batch = [*notes(1), broken, *notes(3), *notes(1, writer="v")]
    answer = client.send(run_id, batch, atomic=False).json()
    assert (answer["accepted"], answer["last_seq"]) == (2, 2)
    assert [(r["index"], r["code"]) for r in answer["rejected"]] == [
        (1, "invalid_event"),
        (2, "sequence_gap"),
    ]


def test_events_come_after_the_end_only_as_far_as_they_were_announced(client):
    run_id = client.create()
    client.send(run_id, notes(1, writer="v"))
    end = event("run_ended", 1, {"writers": {"v": 3, "w": 1}}, status="done")
    client.send(run_id, [end])
    assert (client.row(run_id)["status"], client.row(run_id)["health"]) == ("done", "gap")
    assert code(client.send(run_id, notes(2, 3, 4, writer="v"))) == (409, "run_closed")
    assert client.send(run_id, notes(2, 3, writer="v")).json()["accepted"] == 2
    assert client.row(run_id)["health"] == "ok"
    assert code(client.send(run_id, notes(4, writer="v"))) == (409, "run_closed")
    assert code(client.send(run_id, notes(1, writer="stranger"))) == (409, "run_closed")
    again = event("run_ended", 4, {"writers": {}}, status="failed", writer="v")
    assert code(client.send(run_id, [again])) == (409, "run_closed")
    assert client.send(run_id, [end]).json()["duplicates"] == 1


def test_an_end_that_announces_less_than_was_delivered_is_refused(client):
    run_id = client.create()
    client.send(run_id, notes(1, 2, writer="v"))
    end = event("run_ended", 1, {"writers": {"v": 1}}, status="done")
    assert code(client.send(run_id, [end])) == (422, "invalid_event")
    assert client.row(run_id)["status"] == "running"


def test_seq_is_contiguous_with_many_writers_at_once(client):
    run_id = client.create()

    def write(name):
        for first in range(1, 41, 4):
            answer = client.send(run_id, notes(*range(first, first + 4), writer=name))
            assert answer.status_code == 200, answer.text

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(write, "abcdef"))
    read = client.events(run_id)
    assert [e["seq"] for e in read] == list(range(1, 241))
    for name in "abcdef":
        assert [e["writer_seq"] for e in read if e["writer"] == name] == list(range(1, 41))


def test_two_senders_of_one_writer_store_each_event_once(client):
    run_id = client.create()
    batches = [notes(*range(first, first + 5)) for first in range(1, 51, 5)]

    def send_all(_):
        for batch in batches:
            while client.send(run_id, batch).status_code != 200:
                pass

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(send_all, range(3)))
    assert [e["writer_seq"] for e in client.events(run_id)] == list(range(1, 51))


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(cuts=st.lists(st.integers(0, 12), max_size=6), order=st.randoms(use_true_random=False))
def test_however_a_log_is_cut_and_repeated_the_same_log_is_stored(client, cuts, order):
    log = notes(*range(1, 13))
    run_id = client.create()
    at = 0
    while at < 12:
        first = order.randint(0, at)
        last = order.choice([c for c in [*cuts, 12] if c > at] or [12])
        assert client.send(run_id, log[first:last]).status_code == 200
        at = last
    assert [e["digest"] for e in client.events(run_id)] == [e.digest for e in log]


def test_bodies_travel_once(client):
    asked, answered = a_message("a question"), a_message("an answer", "assistant")
    first = a_model_call(1, messages=[asked[0]], outcome=answered[0], cost_usd=1.0)
    second = a_model_call(3, messages=[asked[0], answered[0]], cost_usd=1.0)
    run_id = client.create()
    assert client.send(run_id, first, dict([asked, answered])).status_code == 200
    assert client.send(run_id, second).status_code == 200
    assert client.http.get(f"/runs/{run_id}/bodies").json() == dict([asked, answered])


def test_a_digest_that_nobody_knows_is_refused_by_name(client, other):
    asked = a_message("known elsewhere")
    call = a_model_call(1, messages=[asked[0]])
    other.send(other.create(), call, dict([asked]))
    run_id = client.create()
    answer = client.send(run_id, call)
    assert code(answer) == (422, "missing_bodies")
    assert answer.json()["details"]["digests"] == [asked[0]]
    assert client.row(run_id)["events"] == 0


def test_a_request_may_begin_like_an_earlier_one(client):
    asked, answered = a_message("a question"), a_message("an answer", "assistant")
    begin = {"call": "s1", "first": 1}
    first = a_model_call(1, messages=[asked[0]], outcome=answered[0])
    second = a_model_call(3, messages=[begin, answered[0]])
    run_id = client.create()
    assert client.send(run_id, [*first, *second], dict([asked, answered])).status_code == 200
    assert client.send(run_id, a_model_call(5, messages=[begin])).status_code == 200


@pytest.mark.parametrize(
    "begin", [{"call": "s1"}, {"call": "s1", "first": 0}, {"call": 1, "first": 1}, {}]
)
def test_a_beginning_of_no_known_form_is_refused(client, begin):
    answer = client.send(client.create(), a_model_call(1, messages=[begin]))
    assert code(answer) == (422, "invalid_event")


def test_what_follows_a_beginning_needs_its_body(client):
    digest, _ = a_message("hello")
    call = a_model_call(1, messages=[{"call": "s0", "first": 1}, digest])
    assert code(client.send(client.create(), call)) == (422, "missing_bodies")


@pytest.mark.parametrize("place", ["run_started", "annotated"])
def test_pooled_inputs_and_remarks_need_their_bodies_too(client, place):
    digest, body = a_message("hello")
    payload = (
        {"input": {"messages": [digest]}, "pooled": True}
        if place == "run_started"
        else {"label": "greeting", "message": digest}
    )
    run_id = client.create()
    assert code(client.send(run_id, [event(place, 1, payload)])) == (422, "missing_bodies")
    assert client.send(run_id, [event(place, 1, payload)], {digest: body}).status_code == 200


def test_a_body_of_another_digest_is_refused(client):
    digest, body = a_message("hello")
    answer = client.send(client.create(), notes(1), {digest: body | {"content": "bye"}})
    assert code(answer) == (422, "invalid_event")


def test_a_digest_is_computed_for_who_sends_none(client):
    run_id = client.create()
    plain = {"event_type": "step_started", "writer": "w", "writer_seq": 1, "payload": {"input": 1}}
    answer = client.http.post(f"/runs/{run_id}/events", json={"events": [plain]})
    assert answer.status_code == 200, answer.text
    same = event("step_started", 1, {"input": 1}, started_at=None)
    assert client.events(run_id)[0]["digest"] == same.digest
    spaced = b'{"events":[%b]}' % json.dumps(plain, indent=3).encode()
    again = client.http.post(f"/runs/{run_id}/events", content=spaced)
    assert again.json()["duplicates"] == 1


def test_a_wrong_digest_is_refused_with_the_right_one(client):
    right = event("step_started", 1)
    wrong = msgspec.structs.replace(right, digest="0" * 64)
    answer = client.send(client.create(), [wrong])
    assert code(answer) == (422, "invalid_event")
    assert answer.json()["expected"] == right.digest


@pytest.mark.parametrize("encoding", ["identity", "gzip", "zstd"])
@pytest.mark.parametrize("lines", [False, True])
def test_json_and_lines_come_plain_or_packed(client, encoding, lines):
    events, bodies = a_whole_run()
    run_id = client.create()
    if lines:
        parts = [json.dumps({"bodies": bodies}).encode(), *map(wire, events), b""]
        content = b"\n".join(parts)
    else:
        content = b'{"events":[%b],"bodies":%b}' % (
            b",".join(map(wire, events)),
            json.dumps(bodies).encode(),
        )
    pack = {"identity": bytes, "gzip": gzip.compress, "zstd": zstandard.compress}[encoding]
    answer = client.http.post(
        f"/runs/{run_id}/events",
        content=pack(content),
        headers={
            "Content-Encoding": encoding,
            "Content-Type": "application/x-ndjson" if lines else "application/json",
        },
    )
    assert answer.json()["accepted"] == 4


def test_a_media_type_is_known_in_capitals_too(client):
    run_id = client.create()
    events = [event("run_started", 1, {"input": 1}), event("step_started", 2)]
    answer = client.http.post(
        f"/runs/{run_id}/events",
        content=b"\n".join(map(wire, events)),
        headers={"Content-Type": "Application/X-NDJSON; charset=utf-8"},
    )
    assert answer.status_code == 200, answer.text
    assert answer.json()["accepted"] == 2


@pytest.mark.parametrize(
    ("fields", "label", "unknown"),
    [
        ({"cost_usd": 0.1}, {}, 0),
        ({"cost_usd": None}, {}, 1),
        ({"cost_usd": 0.0, "input_tokens": 3}, {}, 1),
        ({"cost_usd": 0.0, "input_tokens": 3}, {"cost_local": True}, 0),
        ({"cost_usd": 0.0}, {}, 0),
    ],
)
def test_an_unknown_price_makes_the_run_s_price_unknown(client, fields, label, unknown):
    run_id = client.create(labels=label)
    client.send(run_id, a_model_call(1, **fields))
    client.send(run_id, a_model_call(3, cost_usd=2.0))
    row = client.row(run_id)
    known = 2.0 + (fields["cost_usd"] or 0.0)
    assert (row["unknown_cost_parts"], row["cost_known_usd"]) == (unknown, known)
    assert row["cost_usd"] == (None if unknown else known)


def test_errors_are_counted_by_kind(client):
    run_id = client.create()
    failing = {"kind": "tool", "name": "t", "lane": "root", "ordinal": 1, "step_id": "a"}
    client.send(
        run_id,
        [
            event("call_started", 1, {"request": {"arguments": {}}}, status="running", **failing),
            event("call_ended", 2, {"exception": {"class": "m:E"}}, status="error", **failing),
            event("step_started", 3, step_id="b"),
            event("step_ended", 4, step_id="b", status="error"),
        ],
    )
    row = client.row(run_id)
    assert (row["tool_calls"], row["tool_errors"], row["errors"], row["steps"]) == (1, 1, 2, 2)


def test_an_interrupted_run_waits_until_it_is_resumed(client):
    run_id = client.create()
    client.send(run_id, [event("interrupted", 1, {"value": 1})])
    assert client.row(run_id)["status"] == "waiting"
    client.send(run_id, [event("resumed", 2, {"value": 1})])
    assert client.row(run_id)["status"] == "running"
