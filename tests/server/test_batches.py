"""Several runs in one request: each of them whole, or not at all."""

import json
from uuid import uuid4

import pytest
from speaking import Client, a_whole_run, event, wire


def request(*entries, bodies=None):
    """A request of (header, events) pairs."""
    runs = b",".join(
        b'{"header":%b,"events":[%b]}' % (json.dumps(header).encode(), b",".join(map(wire, events)))
        for header, events in entries
    )
    return b'{"runs":[%b],"bodies":%b}' % (runs, json.dumps(bodies or {}).encode())


def send(client, *entries, bodies=None):
    answer = client.http.post("/batches", content=request(*entries, bodies=bodies))
    assert answer.status_code == 200, answer.text
    return answer.json()["runs"]


def header(**more):
    return {"run_id": str(uuid4()), **more}


def stored(client, run_id):
    return [one["writer_seq"] for one in client.events(run_id)]


def is_there(client, run_id):
    return client.http.get(f"/runs/{run_id}").status_code == 200


def test_runs_are_made_and_filled_in_the_order_of_the_request(client):
    events, bodies = a_whole_run()
    headers = [header(name=f"run {n}", source=f"test:{n}", labels={"n": n}) for n in range(3)]
    said = send(client, *((one, events) for one in headers), bodies=bodies)
    assert said == [
        {
            "run_id": one["run_id"],
            "created": True,
            "accepted": len(events),
            "duplicates": 0,
            "first_seq": 1,
            "last_seq": len(events),
        }
        for one in headers
    ]
    for one in headers:
        row = client.row(one["run_id"])
        assert (row["name"], row["source"], row["labels"]) == (
            one["name"],
            one["source"],
            one["labels"],
        )
        assert row["status"] == "done"
        assert client.http.get(f"/runs/{one['run_id']}/bodies").json() == bodies


def test_a_run_reads_the_same_however_it_was_sent(client):
    events, bodies = a_whole_run()
    one, apart = header(labels={"a": 1}), header(labels={"a": 1})
    send(client, (one, events), bodies=bodies)
    client.create(**apart)
    client.send(apart["run_id"], events, bodies)
    drop = {"run_id", "created_at", "heard_at", "received_at"}
    rows = [client.row(h["run_id"]) for h in (one, apart)]
    assert [{k: v for k, v in row.items() if k not in drop} for row in rows] == [
        {k: v for k, v in rows[0].items() if k not in drop}
    ] * 2
    logs = [
        [{k: v for k, v in e.items() if k not in drop} for e in client.events(h["run_id"])]
        for h in (one, apart)
    ]
    assert logs[0] == logs[1]


def test_the_same_request_again_changes_nothing(client):
    events, bodies = a_whole_run()
    headers = [header(), header()]
    first = send(client, *((one, events) for one in headers), bodies=bodies)
    again = send(client, *((one, events) for one in headers), bodies=bodies)
    assert [one["accepted"] for one in first] == [len(events)] * 2
    assert [(one["created"], one["accepted"], one["duplicates"]) for one in again] == [
        (False, 0, len(events))
    ] * 2
    assert client.row(headers[0]["run_id"])["events"] == len(events)


def test_a_run_with_an_unsound_event_is_left_out_and_the_others_are_stored(client):
    events, bodies = a_whole_run()
    broken = b'{"event_type":"chunk","writer":"w","writer_seq":0}'
    good, bad, after = header(), header(), header()
    said = send(client, (good, events), (bad, [*events, broken]), (after, events), bodies=bodies)
    assert [one.get("accepted") for one in said] == [len(events), None, len(events)]
    assert said[1]["error"]["code"] == "invalid_event"
    assert said[1]["error"]["where"] == f"events[{len(events)}]"
    assert not is_there(client, bad["run_id"])


@pytest.mark.parametrize(
    ("events", "code"),
    [
        ([event("run_started", 2)], "sequence_gap"),
        ([event("run_started", 1), event("chunk", 3, {"index": 0})], "sequence_gap"),
        (
            [event("annotated", 1, {"label": "x", "message": "0" * 64})],
            "missing_bodies",
        ),
    ],
)
def test_a_refused_run_is_not_made(client, events, code):
    good, bad = header(), header(source="test:bad")
    said = send(client, (bad, events), (good, a_whole_run()[0][:1]))
    assert said[0]["error"]["code"] == code
    assert said[0]["run_id"] == bad["run_id"]
    assert not is_there(client, bad["run_id"])
    assert said[1]["accepted"] == 1
    # and its source is free
    assert client.create(source="test:bad")


def test_a_run_that_was_left_open_is_finished(client):
    events, bodies = a_whole_run()
    one = header(name="n")
    client.create(**one)
    client.send(one["run_id"], events[:2], bodies)
    [said] = send(client, (one, events), bodies=bodies)
    assert (said["created"], said["accepted"], said["duplicates"]) == (
        False,
        len(events) - 2,
        2,
    )
    assert client.row(one["run_id"])["status"] == "done"


def test_a_run_of_the_same_id_and_another_header_is_a_conflict(client):
    events, bodies = a_whole_run()
    one = header(name="n")
    client.create(**one)
    [said, other] = send(client, (one | {"name": "m"}, events), (header(), events), bodies=bodies)
    assert said["error"]["code"] == "conflict"
    assert stored(client, one["run_id"]) == []
    assert other["accepted"] == len(events)


def test_a_source_that_is_taken_is_a_conflict_and_the_rest_is_stored(client):
    events, bodies = a_whole_run()
    client.create(source="test:x")
    one, two = header(source="test:x"), header(source="test:y")
    said = send(client, (one, events), (two, events), bodies=bodies)
    assert said[0]["error"]["code"] == "conflict"
    assert not is_there(client, one["run_id"])
    assert said[1]["accepted"] == len(events)


def test_a_run_replaces_the_one_it_supersedes(client):
    events, bodies = a_whole_run()
    older, newer = header(source="test:x"), header(source="test:x")
    send(client, (older, events), bodies=bodies)
    [said] = send(client, (newer | {"supersedes": older["run_id"]}, events), bodies=bodies)
    assert said["created"]
    assert client.row(older["run_id"])["superseded_by"] == newer["run_id"]


def test_the_same_run_twice_in_a_request_is_stored_once(client):
    events, bodies = a_whole_run()
    one = header()
    said = send(client, (one, events), (one, events), bodies=bodies)
    assert [(s["created"], s["accepted"], s["duplicates"]) for s in said] == [
        (True, len(events), 0),
        (False, 0, len(events)),
    ]


def test_runs_without_events_are_made(client):
    one = header(name="empty")
    [said] = send(client, (one, []))
    assert (said["created"], said["accepted"], said["first_seq"]) == (True, 0, None)
    assert is_there(client, one["run_id"])
    assert send(client) == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b'{"runs": 1}',
        b'{"runs": [{}]}',
        b'{"runs": [], "more": 1}',
        b"\xff",
        b"[" * 9999,
    ],
)
def test_what_is_no_request_is_refused(client, content):
    answer = client.http.post("/batches", content=content)
    assert 400 <= answer.status_code < 500
    assert answer.json()["code"] in ("invalid_event", "limit_exceeded")


def test_a_header_that_does_not_fit_is_told_by_itself(client):
    said = send(client, ({"run_id": "nonsense"}, []), ({"nmae": "x"}, []), (header(), []))
    assert [one.get("error", {}).get("code") for one in said] == [
        "invalid_event",
        "invalid_event",
        None,
    ]


def test_too_many_runs_are_refused(client):
    content = b'{"runs":[' + b",".join([b'{"header":{}}'] * 1001) + b"]}"
    answer = client.http.post("/batches", content=content)
    assert answer.json()["code"] == "limit_exceeded"


def test_a_body_of_another_digest_is_refused_with_all_of_the_request(client):
    one = header()
    answer = client.http.post(
        "/batches", content=request((one, []), bodies={"0" * 64: {"role": "user"}})
    )
    assert answer.json()["code"] == "invalid_event"
    assert not is_there(client, one["run_id"])


def test_a_reader_may_not(server):
    reader = server.make_workspace(server.workspace.name, role="reader")
    client = Client(server.url, reader.api_key)
    assert client.http.post("/batches", content=request()).status_code == 403
    client.http.close()


def test_another_workspace_may_take_the_same_ids_and_sees_nothing(client, other):
    events, bodies = a_whole_run()
    one = header(name="mine")
    send(client, (one, events), bodies=bodies)
    assert not is_there(other, one["run_id"])
    unheard = [event for event in events if b"messages" not in wire(event)][:1]
    [said] = send(other, (one | {"name": "theirs"}, unheard))
    assert (said["created"], said["accepted"]) == (True, 1)
    assert client.row(one["run_id"])["name"] == "mine"
    assert client.row(one["run_id"])["events"] == len(events)


def test_what_another_workspace_sent_is_no_body_here(client, other):
    events, bodies = a_whole_run()
    send(client, (header(), events), bodies=bodies)
    [said] = send(other, (header(), events))
    assert said["error"]["code"] == "missing_bodies"
