"""Whatever comes in: a problem with a stable code, never a 5xx, and nothing half-stored."""

import gzip
import json

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from speaking import Client, event, wire

PLAIN = b'"event_type":"step_started","writer":"w","writer_seq":1'
BIG = b'{"events":[],"bodies":{}}' + b" " * (33 * 2**20)


def one(extra=b""):
    return b'{"events":[{%b%b}]}' % (PLAIN, extra)


def nested(levels):
    return b'{"input":%b1%b}' % (b"[" * levels, b"]" * levels)


BATCHES = {
    "no JSON": (b"{", "invalid_event"),
    "nothing": (b"", "invalid_event"),
    "a list": (b"[]", "invalid_event"),
    "no events": (b"{}", "invalid_event"),
    "events that are no list": (b'{"events":{}}', "invalid_event"),
    "an unknown field of the batch": (b'{"events":[],"colour":"red"}', "invalid_event"),
    "an event that is no object": (b'{"events":[1]}', "invalid_event"),
    "bytes that are no UTF-8": (b'{"events":[],"bodies":{"\xff":1}}', "invalid_event"),
    "an event whose bytes are no UTF-8": (one(b',"name":"\xff"'), "invalid_event"),
    "an unknown field": (one(b',"colour":"red"'), "invalid_event"),
    "an unknown type": (
        b'{"events":[{"event_type":"dream","writer":"w","writer_seq":1}]}',
        "unknown_schema_version",
    ),
    "an unknown version": (one(b',"version":2'), "unknown_schema_version"),
    "no writer": (
        b'{"events":[{"event_type":"step_started","writer":"","writer_seq":1}]}',
        "invalid_event",
    ),
    "writer_seq 0": (
        b'{"events":[{"event_type":"step_started","writer":"w","writer_seq":0}]}',
        "invalid_event",
    ),
    "an integer beyond 64 bits": (one(b',"input_tokens":1180591620717411303424'), "invalid_event"),
    "a number out of range": (one(b',"duration_ms":1e999'), "invalid_event"),
    "a time without a zone": (one(b',"started_at":"2026-01-01T00:00:00"'), "invalid_event"),
    "a time before all times": (
        one(b',"started_at":"0001-01-01T00:00:00+23:00"'),
        "invalid_event",
    ),
    "NUL in a name": (one(b',"name":"a\\u0000b"'), "invalid_event"),
    "NUL in a lane": (one(b',"lane":"\\u0000"'), "invalid_event"),
    "a lone surrogate in a name": (one(b',"name":"\\ud800"'), "invalid_event"),
    "a lone surrogate in a payload": (one(b',"payload":{"input":"\\udfff"}'), "invalid_event"),
    "a writer as long as a page": (
        b'{"events":[{"event_type":"step_started","writer":"%b","writer_seq":1}]}' % (b"w" * 5000),
        "limit_exceeded",
    ),
    "a payload of another type": (one(b',"payload":[1]'), "invalid_event"),
    "a payload nested too deep": (one(b',"payload":' + nested(65)), "limit_exceeded"),
    "a payload nested far too deep": (one(b',"payload":' + nested(100_000)), "limit_exceeded"),
    "an integer no hash can hold": (one(b',"payload":{"input":' + b"9" * 30 + b"}"), "invalid_event"),
    "a digest that is none": (one(b',"digest":"abc"'), "invalid_event"),
    "a signature that is none": (one(b',"signature":"abc"'), "invalid_event"),
    "a run that ends as nothing": (
        b'{"events":[{"event_type":"run_ended","writer":"w","writer_seq":1,"status":"ok"}]}',
        "invalid_event",
    ),
    "messages that are no digests": (
        (
            b'{"events":[{"event_type":"call_started","kind":"model","writer":"w","writer_seq":1,'
            b'"payload":{"request":{"messages":[{"role":"user"}]}}}]}'
        ),
        "invalid_event",
    ),
    "a body that is no object": (
        b'{"events":[],"bodies":{"%b":1}}' % (b"0" * 64),
        "invalid_event",
    ),
    "a body nested too deep": (
        b'{"events":[],"bodies":{"%b":%b}}' % (b"0" * 64, nested(65)),
        "limit_exceeded",
    ),
    "a body under no digest": (b'{"events":[],"bodies":{"x":{}}}', "invalid_event"),
    "too many events": (b'{"events":[%b]}' % b",".join([b"{}"] * 10_001), "limit_exceeded"),
    "too much": (BIG, "limit_exceeded"),
}  # fmt: skip
STATUS = {"invalid_event": 422, "unknown_schema_version": 422, "limit_exceeded": 413}


def assert_is_problem(answer, status, code):
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code), answer.text[:500]
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem.keys() >= {"type", "title", "status", "detail", "timestamp", "details"}
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert "Traceback" not in answer.text


@pytest.mark.parametrize("name", BATCHES)
def test_a_bad_batch_is_refused_and_nothing_of_it_is_stored(client, name):
    content, code = BATCHES[name]
    run_id = client.create()
    answer = client.http.post(f"/runs/{run_id}/events", content=content)
    assert_is_problem(answer, STATUS[code], code)
    assert client.row(run_id)["events"] == 0
    assert client.http.get(f"/runs/{run_id}/bodies").json() == {}


@pytest.mark.parametrize(("lists", "status"), [(62, 200), (63, 413)])
def test_64_levels_are_the_most_counted_outside_of_texts(client, lists, status):
    text = json.dumps({"input": "[{" * 200 + '"\\'}).encode()
    run_id = client.create()
    for number, payload, wanted in ((1, text, 200), (2, nested(lists), status)):
        raw = b'{"event_type":"step_started","writer":"w","writer_seq":%d,"payload":%b}'
        content = b'{"events":[%b]}' % (raw % (number, payload))
        answer = client.http.post(f"/runs/{run_id}/events", content=content)
        assert answer.status_code == wanted, answer.text


PACKED = {
    "no gzip": ("gzip", b"plain"),
    "gzip cut off": ("gzip", gzip.compress(one())[:-9]),
    "gzip with more behind it": ("gzip", gzip.compress(one()) + b"more"),
    "no zstd": ("zstd", b"plain"),
    "zstd cut off": ("zstd", zstandard.compress(one() * 9)[:-3]),
    "zstd with more behind it": ("zstd", zstandard.compress(one()) + b"more"),
    "nothing as zstd": ("zstd", b""),
    "another encoding": ("br", b"plain"),
}


@pytest.mark.parametrize("name", PACKED)
def test_a_body_that_cannot_be_unpacked_is_refused(client, name):
    encoding, content = PACKED[name]
    answer = client.http.post(
        f"/runs/{client.create()}/events", content=content, headers={"Content-Encoding": encoding}
    )
    assert_is_problem(answer, 422, "usage_error")


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_a_bomb_is_refused_before_it_is_unpacked(client, pack):
    content = pack(b" " * (512 * 2**20))
    encoding = "gzip" if pack is gzip.compress else "zstd"
    answer = client.http.post(
        f"/runs/{client.create()}/events", content=content, headers={"Content-Encoding": encoding}
    )
    assert_is_problem(answer, 413, "limit_exceeded")


HEADERS = {
    "no JSON": (b"{", "invalid_event"),
    "a list": (b"[]", "invalid_event"),
    "an unknown field": (b'{"colour":"red"}', "invalid_event"),
    "an id that is no uuid": (b'{"run_id":"mine"}', "invalid_event"),
    "a parent that is no uuid": (b'{"parent_run_id":"x"}', "invalid_event"),
    "NUL in a name": (b'{"name":"\\u0000"}', "invalid_event"),
    "NUL in a label": (b'{"labels":{"a":"\\u0000"}}', "invalid_event"),
    "NUL in a label's name": (b'{"labels":{"a\\u0000":1}}', "invalid_event"),
    "a label as long as a book": (b'{"labels":{"a":"%b"}}' % (b"x" * 2**22), "limit_exceeded"),
    "a label's name as long as a page": (b'{"labels":{"%b":1}}' % (b"x" * 5000), "limit_exceeded"),
    "a place before the first event": (b'{"forked_at":0}', "invalid_event"),
    "a hash of edits that is none": (b'{"edits_hash":"zz"}', "invalid_event"),
    "nothing": (b"", "invalid_event"),
    "its own parent": (
        (
            b'{"run_id":"00000000-0000-0000-0000-000000000001",'
            b'"parent_run_id":"00000000-0000-0000-0000-000000000001"}'
        ),
        "invalid_event",
    ),
    "labels that are not flat": (b'{"labels":{"a":[1]}}', "invalid_event"),
    "an unknown mode": (b'{"mode":"dream"}', "invalid_event"),
    "a source as long as a page": (b'{"source":"%b"}' % (b"x" * 5000), "limit_exceeded"),
    "a place that is no bigint": (b'{"forked_at":99999999999999999999}', "invalid_event"),
    "a label beyond 64 bits": (b'{"labels":{"a":%b}}' % (b"9" * 30), "invalid_event"),
    "itself superseded": (
        (
            b'{"run_id":"00000000-0000-0000-0000-000000000001",'
            b'"supersedes":"00000000-0000-0000-0000-000000000001"}'
        ),
        "invalid_event",
    ),
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_bad_header_makes_no_run(client, name):
    content, code = HEADERS[name]
    answer = client.http.post("/runs", content=content)
    assert_is_problem(answer, 413 if code == "limit_exceeded" else 422, code)
    assert client.http.get("/runs").json()["runs"] == []


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"",
        b'{"colour":1}',
        b'{"labels":{"a":{}}}',
        b'{"labels":{"a":%b}}' % (b"9" * 30),
        b'{"labels":{"a":"\\u0000"}}',
    ],
)
def test_a_bad_change_of_a_run_changes_nothing(client, content):
    run_id = client.create(name="kept")
    before = client.row(run_id)
    answer = client.http.patch(f"/runs/{run_id}", content=content)
    assert_is_problem(answer, 422, "invalid_event")
    assert client.row(run_id) == before


@pytest.mark.parametrize(
    ("header", "where", "expected"),
    [
        (b"", None, "a JSON object"),
        (b"[]", None, "object"),
        (b'{"name":5}', "name", "str | null"),
        (b'{"labels":{"a":[]}}', "labels[...]", "bool | int | float | str | null"),
        (b'{"mode":"dream"}', "mode", "exact, cached, simulated, live"),
        (b'{"labels":{"a":"\\u0000"}}', "labels.a", None),
        (b'{"labels":{"a":%b}}' % (b"9" * 30), "labels.a", "a number of 64 bits"),
        (b'{"forked_at":-1}', "forked_at", f"1 to {2**63 - 1}"),
        (b'{"forked_at":%d}' % 2**63, "forked_at", f"1 to {2**63 - 1}"),
        (b'{"edits_hash":"AB"}', "edits_hash", "64 lower-case hex digits"),
    ],
)
def test_a_bad_header_is_told_where_it_is_bad_and_what_is_expected(client, header, where, expected):
    problem = client.http.post("/runs", content=header).json()
    said = problem.get("expected")
    words = said and sorted(said.split(", "))  # in whichever order they come
    assert (problem.get("where"), words) == (where, expected and sorted(expected.split(", ")))


def test_an_unknown_field_is_named_with_those_there_are(client):
    problem = client.http.post("/keys", json={"role": "reader", "colour": "red"}).json()
    assert problem["found"] == "a field colour"
    assert problem["expected"] == "role, name, expires_at"


def test_an_unknown_word_is_named_with_those_there_are(client):
    problem = client.http.post("/keys", json={"role": "god"}).json()
    assert (problem["where"], problem["found"]) == ("role", "'god'")
    assert set(problem["expected"].split(", ")) == {"reader", "writer", "admin"}


QUERIES = {
    "/runs?limit=0": 422,
    "/runs?limit=x": 422,
    "/runs?cursor=x": 422,
    "/runs?cursor=%00": 422,
    "/runs?label=nocolon": 422,
    "/runs?name=%00": 422,
    "/runs?source=%ED%A0%80": 200,
    "/runs/x": 404,
    "/runs/%00": 404,
    "/runs/x/events": 404,
    "/runs/00000000-0000-0000-0000-000000000000/events?after=-1": 422,
    "/runs/00000000-0000-0000-0000-000000000000/events?after=99999999999999999999999": 422,
    "/runs/00000000-0000-0000-0000-000000000000/events?columns=x": 422,
    "/runs/00000000-0000-0000-0000-000000000000/bodies": 404,
    "/artifacts/x": 404,
    "/nowhere": 404,
}


@pytest.mark.parametrize("path", QUERIES)
def test_a_bad_address_is_a_problem(client, path):
    answer = client.http.get(path)
    assert answer.status_code == QUERIES[path], answer.text
    if answer.status_code != 200:
        assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("header", [None, "Bearer", "Bearer x", "Basic eDp5", "Bearer \u00fc"])
def test_without_a_known_key_nothing_is_answered(client, header):
    sent = {} if header is None else {"Authorization": header.encode("latin-1")}
    client.http.headers.pop("Authorization")
    for method, path in (("GET", "/runs"), ("POST", "/runs"), ("GET", "/snapshots")):
        answer = client.http.request(method, path, headers=sent)
        assert_is_problem(answer, 401, "unauthenticated")
        assert answer.headers["www-authenticate"] == "Bearer"


def test_a_reader_s_key_cannot_write(server, client):
    run_id = client.create()
    reader = server.make_workspace(server.workspace.name, role="reader")
    with Client(server.url, reader.api_key).http as http:
        assert http.get(f"/runs/{run_id}").status_code == 200
        for method, path in (
            ("POST", "/runs"),
            ("PATCH", f"/runs/{run_id}"),
            ("POST", f"/runs/{run_id}/events"),
            ("PUT", f"/artifacts/{'0' * 64}"),
            ("POST", "/snapshots"),
        ):
            assert_is_problem(http.request(method, path), 403, "forbidden")


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_change_of_a_good_batch_breaks_the_server(client, data):
    good = b'{"events":[%b]}' % wire(event("step_started", 1, {"input": {"a": [1, "é"]}}))
    raw = bytearray(good)
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    answer = client.http.post(f"/runs/{client.create()}/events", content=bytes(raw))
    assert answer.status_code in (200, 409, 413, 422), answer.text
