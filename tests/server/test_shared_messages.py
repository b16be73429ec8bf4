"""Message bodies stand once in a workspace, and each run reads all those it names or sent."""

import io
import json
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import psycopg
import pyarrow as pa
import pytest
from speaking import a_message, a_model_call, event, wire


def calls(first, *digests):
    """Model calls from a number on, one for each message they name."""
    return [
        one
        for n, digest in enumerate(digests)
        for one in a_model_call(first + 2 * n, messages=[digest])
    ]


def bodies_of(client, run_id):
    """The digests as they are read, so that one that came twice would show; each of its own body."""
    read = client.http.get(
        f"/runs/{run_id}/bodies", headers={"Accept": "application/vnd.apache.arrow.stream"}
    )
    rows = pa.ipc.open_stream(io.BytesIO(read.content)).read_all().to_pylist()
    as_json = client.http.get(f"/runs/{run_id}/bodies").json()
    assert {row["digest"]: json.loads(row["body"]) for row in rows} == as_json
    return [row["digest"] for row in rows]


def links_of(server, run_id):
    with psycopg.connect(server.database.owner_url) as owner:
        return owner.execute(
            "select seq, (select array_agg(encode(d, 'hex')) from unnest(digests) d)"
            " from shared_messages where workspace_id = %s and run_id = %s order by seq",
            [server.workspace.workspace_id, run_id],
        ).fetchall()


@pytest.fixture
def said(client):
    """Three messages that a run has sent already."""
    messages = dict(a_message(f"said {n}") for n in range(3))
    run_id = client.create()
    assert client.send(run_id, calls(1, *messages), messages).status_code == 200
    assert bodies_of(client, run_id) == sorted(messages)
    return messages


# By the fast way; and by the careful one, which a batch of two writers takes.
@pytest.fixture(params=["fast", "careful"])
def send(client, request):
    def sent(run_id, events, bodies=None):
        more = [event("step_started", send.notes, writer="x")] if request.param == "careful" else []
        send.notes += 1
        answer = client.send(run_id, [*events, *more], bodies)
        assert answer.status_code == 200, answer.text
        return answer.json()

    send = sent
    send.notes = 1
    return sent


def test_what_another_run_sent_is_the_run_s_as_well_by_whatever_batch(client, said, send):
    one, two, three = said
    own, own_body = a_message("own")
    run_id = client.create()
    send(run_id, calls(1, one), {one: said[one]})
    assert bodies_of(client, run_id) == [one]
    send(run_id, calls(3, two, own), {own: own_body})
    assert bodies_of(client, run_id) == sorted([one, two, own])
    send(run_id, calls(7, one, two, own), said | {own: own_body})
    assert bodies_of(client, run_id) == sorted([one, two, three, own])


def test_a_link_is_kept_once(client, server, said, send):
    one, two, three = said
    run_id = client.create()
    send(run_id, calls(1, one, two), {one: said[one]})
    kept = links_of(server, run_id)
    assert [sorted(digests) for _, digests in kept] == [sorted([one, two])]
    send(run_id, calls(5, one, two), said | {one: said[one]})
    [first, second] = links_of(server, run_id)
    assert (first, second[1]) == (kept[0], [three])
    send(run_id, calls(9, one, two, three))
    assert links_of(server, run_id) == [first, second]


def test_a_run_s_own_messages_need_no_link(client, server, send):
    messages = dict(a_message(f"own {n}") for n in range(3))
    run_id = client.create()
    send(run_id, calls(1, *messages), messages)
    send(run_id, calls(7, *messages), messages)
    assert links_of(server, run_id) == []
    assert bodies_of(client, run_id) == sorted(messages)


def test_links_of_a_batch_that_brought_no_event_stay_with_those_of_the_next(client, server, said):
    one, two, three = said
    run_id = client.create()
    started = [event("run_started", 1, {})]
    client.send(run_id, started)
    assert client.send(run_id, started, {one: said[one]}).json()["duplicates"] == 1
    assert client.send(run_id, started, {two: said[two]}).json()["duplicates"] == 1
    client.send(run_id, calls(2, three, one))
    assert [(seq, sorted(digests)) for seq, digests in links_of(server, run_id)] == [
        (2, sorted(said))
    ]
    assert bodies_of(client, run_id) == sorted(said)


def test_a_refused_batch_leaves_no_link(client, server, said):
    one, two, _ = said
    nobody_s, _ = a_message("never sent")
    run_id = client.create()
    answer = client.send(run_id, calls(1, one, two, nobody_s))
    assert answer.json()["details"]["digests"] == [nobody_s]
    assert (links_of(server, run_id), bodies_of(client, run_id)) == ([], [])


def test_runs_of_one_request_share(client):
    messages = dict(a_message(f"together {n}") for n in range(3))
    headers = [{"run_id": str(uuid4())} for _ in range(3)]
    log = calls(1, *messages)
    runs = [{"header": one, "events": [json.loads(wire(each)) for each in log]} for one in headers]
    answer = client.http.post("/batches", json={"runs": runs, "bodies": messages})
    assert {one["accepted"] for one in answer.json()["runs"]} == {len(log)}
    for one in headers:
        assert bodies_of(client, one["run_id"]) == sorted(messages)


def test_batches_that_bring_the_same_new_bodies_at_once_all_keep_them(client):
    """In other orders, and by both ways: none waits for another in a circle, none is left without."""
    rounds = 6
    for turn in range(rounds):
        messages = dict(a_message(f"at once {turn} {n}") for n in range(20))
        run_ids = [client.create() for _ in range(8)]

        def sent(number, run_ids=run_ids, messages=messages):
            order = sorted(messages, reverse=number % 2 == 0)
            log = calls(1, *order)
            if number % 3 == 0:
                log.append(event("step_started", 1, writer="x"))
            return client.send(run_ids[number], log, {d: messages[d] for d in order}).status_code

        with ThreadPoolExecutor(8) as threads:
            assert set(threads.map(sent, range(8))) == {200}
        for run_id in run_ids:
            assert bodies_of(client, run_id) == sorted(messages)


def test_many_messages_come_in_blocks_whoever_sent_them(client):
    messages = dict(a_message(f"many {n}") for n in range(2500))
    half = dict(list(messages.items())[::2])
    client.send(client.create(), [event("run_started", 1, {})], half)
    run_id = client.create()
    client.send(run_id, [event("run_started", 1, {})], messages)
    assert bodies_of(client, run_id) == sorted(messages)
