"""Every answer that is no success is a problem: with a code, the facts, and what to do."""

import gzip
import json
import re
import socket
from datetime import datetime
from urllib.parse import urlsplit

import pytest
from speaking import Client, event
from workbench_server.openapi.operations import OPERATIONS

FIELDS = {"type", "title", "status", "code", "detail", "timestamp", "request_id", "details"}
NOWHERE = "00000000-0000-0000-0000-000000000000"
SHA256 = "0" * 64


def checked(answer, status, code):
    """Check the form of a problem and give its details."""
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code), answer.text[:500]
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert problem.keys() >= FIELDS
    assert problem["type"] == f"urn:workbench:{code}"
    assert problem["status"] == status
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert datetime.fromisoformat(problem["timestamp"]).tzinfo is not None
    sides = {
        name: problem[name] for name in ("where", "expected", "found", "hint") if name in problem
    }
    assert problem["details"].items() >= sides.items()
    assert "Traceback" not in answer.text
    return problem["details"]


@pytest.fixture
def run_id(client):
    return client.create()


def address(path):
    names = {
        "run_id": NOWHERE,
        "job_id": NOWHERE,
        "sha256": SHA256,
        "session": "s",
        "key_id": "k",
    }
    return re.sub(r"\{(\w+)\}", lambda name: names[name[1]], path)


@pytest.mark.parametrize("route", OPERATIONS, ids=" ".join)
def test_no_route_passes_over_a_parameter_it_does_not_have(client, route):
    method, path = route
    url = f"{str(client.http.base_url).removesuffix('/v1/')}{address(path)}"
    details = checked(
        client.http.request(method, url, params={"colour": 1}), 400, "unknown_parameter"
    )
    assert (details["where"], details["found"]) == ("query", "colour")
    assert details["hint"]


def test_the_nearest_parameter_is_named(client):
    details = checked(client.http.get("/runs", params={"lable": "a:b"}), 400, "unknown_parameter")
    assert (details["nearest"], details["hint"]) == (["label"], "Did you mean label?")


def test_a_parameter_that_came_twice_is_refused_where_there_is_one(client):
    details = checked(client.http.get("/runs?limit=1&limit=2"), 422, "usage_error")
    assert details["where"] == "query.limit"
    assert client.http.get("/runs?label=a:b&label=c:d").status_code == 200


def test_a_value_that_does_not_fit_is_named_with_its_place(client):
    details = checked(client.http.get("/runs", params={"limit": "many"}), 422, "usage_error")
    assert (details["where"], details["found"]) == ("query.limit", "many")
    assert details["expected"] == "a valid integer, unable to parse string as an integer"
    assert "openapi.json" in details["hint"]


@pytest.mark.parametrize("path", ["/nowhere", "/runs/", "/", "/runs//events", "/../v1x", "/RUNS"])
def test_an_unknown_address_is_a_problem_and_never_a_redirect(client, path):
    assert checked(client.http.get(path), 404, "not_found")["hint"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/runs", {"GET", "POST"}),
        ("PUT", f"/runs/{NOWHERE}", {"GET", "PATCH"}),
        ("POST", f"/artifacts/{SHA256}", {"GET", "PUT"}),
        ("HEAD", "/health", {"GET"}),
        ("TRACE", "/health", {"GET"}),
        ("FOO", "/health", {"GET"}),
        ("OPTIONS", "/keys", {"GET", "POST"}),
    ],
)
def test_a_method_that_an_address_does_not_know_is_told_all_that_it_knows(
    client, method, path, allowed
):
    answer = client.http.request(method, path)
    if method not in {"HEAD", "FOO"}:  # the one has no body, the other is no method to the parser
        checked(answer, 405, "usage_error")
    if method != "FOO":
        assert set(answer.headers["allow"].split(", ")) == allowed
    assert answer.status_code == (400 if method == "FOO" else 405)
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
)
def test_a_body_that_says_it_is_something_else_is_refused(client, run_id, kind):
    for method, path in (("POST", "/runs"), ("POST", f"/runs/{run_id}/events"), ("POST", "/keys")):
        answer = client.http.request(method, path, content=b"{}", headers={"Content-Type": kind})
        details = checked(answer, 415, "unsupported_media")
        assert (details["where"], details["found"]) == ("Content-Type", kind.partition(";")[0])
        assert "application/json" in details["hint"]


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=utf-8", ""])
def test_json_may_say_that_it_is_json(client, kind):
    headers = {"Content-Type": kind} if kind else {}
    assert client.http.post("/runs", content=b"{}", headers=headers).status_code == 201


@pytest.mark.parametrize("size", [8_193, 60_000])
def test_an_address_without_end_is_refused(client, size):
    answer = client.http.get(f"/runs?q={'x' * size}")
    assert checked(answer, 414, "limit_exceeded")["hint"]


def test_the_last_bytes_of_an_address_are_taken(client):
    size = 8_192 - len("/v1/runs/")
    checked(client.http.get(f"/runs/{'x' * size}"), 404, "run_not_found")


# ---- what is no HTTP at all


def told(server, data):
    """Send bytes and read until the server closes: status line, headers and the problem."""
    place = urlsplit(server.url)
    with socket.create_connection((place.hostname, place.port), timeout=30) as opened:
        opened.sendall(data)
        with opened.makefile("rb") as file:
            head, _, body = file.read().partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    return int(status.split()[1]), dict(line.lower().split(": ", 1) for line in lines), body


MALFORMED = {
    "no HTTP": (b"hello\r\n\r\n", 400),
    "a header without a colon": (b"GET /v1/health HTTP/1.1\r\nHost x\r\n\r\n", 400),
    "a control character in a header": (b"GET /v1/health HTTP/1.1\r\nHost: x\x01\r\n\r\n", 400),
    "two lengths": (
        b"POST /v1/runs HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
        400,
    ),
    "a length that is none": (
        b"POST /v1/runs HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        400,
    ),
    "a space in the address": (b"GET /v1/he alth HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "bytes that are no address": (b"GET /v1/\xff HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "headers without end": (b"GET /v1/health HTTP/1.1\r\nX: " + b"x" * 70_000, 431),
    "many headers": (b"GET /v1/health HTTP/1.1\r\n" + b"X: y\r\n" * 12_000, 431),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_what_is_no_http_is_answered_with_a_problem(server, name):
    data, wanted = MALFORMED[name]
    status, headers, body = told(server, data)
    problem = json.loads(body)
    assert (status, headers["content-type"]) == (wanted, "application/problem+json"), body
    assert problem.keys() >= FIELDS
    assert problem["request_id"] == headers["x-request-id"]
    assert problem["details"]["hint"]


# ---- hints


def raw_batch(**fields):
    return json.dumps(
        {"events": [{"event_type": "step_started", "writer": "w", "writer_seq": 1} | fields]}
    ).encode()


BATCHES = {
    "no JSON": (b"{", {}, "invalid_event"),
    "an unknown type": (raw_batch(event_type="dream"), {}, "unknown_schema_version"),
    "an unknown version": (raw_batch(version=9), {}, "unknown_schema_version"),
    "an unknown field": (raw_batch(colour="red"), {}, "invalid_event"),
    "a gap": (raw_batch(writer_seq=5), {}, "sequence_gap"),
    "a conflict": (raw_batch(name="other"), {}, "sequence_conflict"),
    "a digest that is another's": (raw_batch(writer_seq=2, digest="0" * 64), {}, "invalid_event"),
    "no gzip": (b"x", {"Content-Encoding": "gzip"}, "usage_error"),
    "gzip cut off": (gzip.compress(b"{}")[:-4], {"Content-Encoding": "gzip"}, "usage_error"),
    "no zstd": (b"x", {"Content-Encoding": "zstd"}, "usage_error"),
    "another packing": (b"x", {"Content-Encoding": "br"}, "usage_error"),
}


@pytest.mark.parametrize("name", BATCHES)
def test_whoever_can_do_something_about_it_is_told_what(client, run_id, name):
    content, headers, code = BATCHES[name]
    assert client.send(run_id, [event("step_started", 1)]).status_code == 200
    answer = client.http.post(f"/runs/{run_id}/events", content=content, headers=headers)
    details = checked(answer, answer.status_code, code)
    assert details.get("hint"), answer.text


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/runs/none", "run_not_found"),
        ("GET", f"/artifacts/{SHA256}", "artifact_not_found"),
        ("GET", "/runs?cursor=x", "usage_error"),
        ("GET", "/runs?label=nocolon", "usage_error"),
        ("GET", "/runs?sort=colour", "usage_error"),
        ("GET", "/usage?from=2026-02-01&to=2026-01-01", "usage_error"),
        ("DELETE", "/keys/none", "not_found"),
    ],
)
def test_a_refused_question_says_what_would_be_answered(client, method, path, code):
    client.create()
    answer = client.http.request(method, path)
    details = checked(answer, answer.status_code, code)
    assert details.get("hint") or details.get("expected"), answer.text


def test_the_hint_of_a_refused_key_says_where_keys_come_from(server):
    with Client(server.url, "wrong").http as http:
        answer = http.get("/runs")
    hint = checked(answer, 401, "unauthenticated")["hint"]
    assert "WORKBENCH_API_KEY" in hint
    assert "***" not in hint, "the hint itself is no secret"
    assert answer.headers["www-authenticate"] == "Bearer"


# ---- files


def put(client, data, kind):
    import hashlib

    sha256 = hashlib.sha256(data).hexdigest()
    headers = {"Content-Type": kind}
    return sha256, client.http.put(f"/artifacts/{sha256}", content=data, headers=headers)


@pytest.mark.parametrize("kind", ["text/html", "image/svg+xml", "text/html; charset=utf-8"])
def test_a_stored_page_is_never_shown_as_one(client, kind):
    sha256, answer = put(client, b"<script>alert(1)</script>" + kind.encode(), kind)
    assert answer.status_code == 201
    got = client.http.get(f"/artifacts/{sha256}")
    assert got.headers["content-type"] == kind
    assert got.headers["content-disposition"] == f'attachment; filename="{sha256}"'
    assert got.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in got.headers["content-security-policy"]


@pytest.mark.parametrize("kind", ["html", "text/", "a/b;c", "x/" + "y" * 300, "é/b"])
def test_a_media_type_that_is_none_is_not_kept(client, kind):
    _, answer = put(client, b"x", kind.encode("latin-1"))
    if answer.status_code != 400:  # the parser itself refuses some
        assert checked(answer, 415, "unsupported_media")["hint"]
