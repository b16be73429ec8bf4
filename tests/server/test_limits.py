"""Rates as token buckets, and sizes refused before they cost anything."""

import asyncio
import gzip
import hashlib
import socket
from urllib.parse import urlsplit
from uuid import uuid4

import msgspec
import pytest
import zstandard
from handmade import short_run
from speaking import a_whole_run, event
from starlette.requests import Request
from workbench_server.access import Caller
from workbench_server.limits import DEFAULT, read_body
from workbench_server.rates import BURST_S, Rates

from workbench.errors import RateLimited
from workbench.schema import RunHeader
from workbench.store import connect


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def rates(clock):
    return Rates(clock=clock)


def caller(**limits):
    return Caller(
        workspace_id=uuid4(),
        name="w",
        role="writer",
        limits=msgspec.structs.replace(DEFAULT, **limits),
    )


def admitted(rates, who, *, times, **taken):
    """How often the same goes through before it is refused, and the refusal."""
    for done in range(times):
        try:
            rates.admit(who, **taken)
        except RateLimited as error:
            return done, error
    return times, None


@pytest.mark.parametrize("unit", ["requests", "events", "bytes"])
def test_a_burst_goes_through_and_then_the_rate_holds(rates, clock, unit):
    who = caller(**{f"{unit}_per_s": 8})
    burst, refused = admitted(rates, who, times=1000, **{unit: 1})
    assert burst == 8 * BURST_S + 1
    assert refused.facts == {"limit": f"{unit}_per_s", "retry_after": 1}
    clock.now += 1
    assert admitted(rates, who, times=1000, **{unit: 1})[0] == 8
    clock.now += 1000
    assert admitted(rates, who, times=1000, **{unit: 1})[0] == burst


def test_a_batch_larger_than_the_bucket_goes_through_and_is_made_up_for(rates, clock):
    who = caller(events_per_s=10)
    rates.admit(who, events=1000)
    _, refused = admitted(rates, who, times=1, events=1)
    assert refused.facts["retry_after"] == 95
    with pytest.raises(RateLimited):
        rates.check(who)
    clock.now += 95
    rates.check(who)
    rates.admit(who, events=1)


def test_what_is_refused_takes_nothing(rates, clock):
    who = caller(events_per_s=1, bytes_per_s=1)
    rates.admit(who, events=100)
    assert admitted(rates, who, times=1, events=1, bytes=1000)[0] == 0
    rates.admit(who, bytes=1)


def test_one_workspace_does_not_slow_another(rates):
    first, second = caller(requests_per_s=1), caller(requests_per_s=1)
    admitted(rates, first, times=100, requests=1)
    rates.admit(second, requests=1)


def test_a_closed_stream_makes_room(rates):
    who = caller(streams=1)
    with rates.stream(who):
        with pytest.raises(RateLimited) as refused, rates.stream(who):
            pass
        assert refused.value.facts["limit"] == "streams"
    with rates.stream(who):
        pass


# ---- over HTTP


def change(client, **limits):
    answer = client.http.patch("/limits", json=limits)
    assert answer.status_code == 200, answer.text
    return answer.json()


def one(payload=b"{}"):
    return (
        b'{"events":[{"event_type":"step_started","writer":"w","writer_seq":1,"payload":%b}]}'
        % payload
    )


def assert_refused(answer, code="limit_exceeded", status=413):
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


def test_limits_are_the_defaults_until_they_are_set_and_null_is_the_default_again(client):
    said = client.http.get("/limits").json()
    assert (said["set"], said["limits"]) == ({}, msgspec.structs.asdict(DEFAULT))
    assert said["ranges"].keys() == said["limits"].keys()
    said = change(client, nesting=10, streams=3)
    assert said["set"] == {"nesting": 10, "streams": 3}
    said = change(client, nesting=None)
    assert (said["set"], said["limits"]["nesting"]) == ({"streams": 3}, DEFAULT.nesting)


@pytest.mark.parametrize(
    "limits",
    [{"colour": 1}, {"nesting": "x"}, {"nesting": 0}, {"nesting": 10**30}, {"nesting": 1.5}, [1]],
)
def test_a_limit_that_makes_no_sense_changes_nothing(client, limits):
    assert client.http.patch("/limits", json=limits).status_code == 422
    assert client.http.get("/limits").json()["set"] == {}


def test_limits_of_one_workspace_are_not_another_s(client, other):
    change(client, batch_events=1)
    assert other.http.get("/limits").json()["set"] == {}
    events, bodies = a_whole_run()
    assert other.send(other.create(), events, bodies).status_code == 200


@pytest.mark.parametrize("pack", [None, gzip.compress, zstandard.compress])
def test_a_body_of_one_byte_more_is_refused(client, pack):
    """Compressed it is small enough to come in, and too large when it is unpacked."""
    change(client, body_bytes=4096, unpacked_bytes=4096)
    run_id = client.create()
    encoding = {None: "identity", gzip.compress: "gzip"}.get(pack, "zstd")
    for more, status in ((0, 200), (1, 413)):
        content = one()
        content += b" " * (4096 + more - len(content))
        answer = client.http.post(
            f"/runs/{run_id}/events",
            content=pack(content) if pack else content,
            headers={"Content-Encoding": encoding},
        )
        assert answer.status_code == status, answer.text


def test_a_body_is_refused_by_its_announced_length_before_it_is_read(server, client):
    change(client, body_bytes=4096)
    path = f"/v1/runs/{client.create()}/events"
    host = urlsplit(server.url)
    with socket.create_connection((host.hostname, host.port), timeout=10) as raw:
        raw.sendall(
            f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {server.api_key}\r\n"
            "Content-Length: 4097\r\n\r\n".encode()
        )
        answer = raw.recv(65536).decode()  # nothing of the body was sent
    assert answer.startswith("HTTP/1.1 413")


def test_a_body_in_chunks_is_refused_at_one_byte_too_many(client):
    change(client, body_bytes=4096)
    path = f"/runs/{client.create()}/events"

    def chunks(size):
        content = one()
        content += b" " * (size - len(content))
        yield from (content[i : i + 1000] for i in range(0, size, 1000))

    assert client.http.post(path, content=chunks(4096)).status_code == 200
    assert_refused(client.http.post(path, content=chunks(4097)))


def test_an_artifact_has_a_limit_of_its_own(client):
    change(client, artifact_bytes=2048, body_bytes=1024)
    for size, status in ((2048, 201), (2049, 413)):
        data = b"x" * size
        path = f"/artifacts/{hashlib.sha256(data).hexdigest()}"
        assert client.http.put(path, content=data).status_code == status


def test_a_batch_of_one_event_more_is_refused(client):
    change(client, batch_events=3)
    events, bodies = a_whole_run()
    run_id = client.create()
    assert_refused(client.send(run_id, events, bodies))
    assert client.send(run_id, events[:3], bodies).status_code == 200


def test_nesting_is_limited_as_the_workspace_says(client):
    change(client, nesting=10)
    run_id = client.create()
    for levels, status in ((8, 200), (9, 413)):
        payload = b'{"input":%b1%b}' % (b"[" * levels, b"]" * levels)
        answer = client.http.post(f"/runs/{run_id}/events", content=one(payload))
        assert answer.status_code == status, answer.text
        run_id = client.create()


def test_an_admin_can_always_give_more_again(client):
    change(client, body_bytes=1024, unpacked_bytes=1024, nesting=4, requests_per_s=1, streams=0)
    assert change(client, body_bytes=None)["limits"]["body_bytes"] == DEFAULT.body_bytes


def test_too_many_requests_are_told_when_to_come_back(client):
    change(client, requests_per_s=1)
    answers = [client.http.get("/runs") for _ in range(20)]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert refused
    problem = refused[0].json()
    assert (problem["code"], problem["details"]["limit"]) == ("rate_limited", "requests_per_s")
    assert problem["details"].keys() >= {"limit", "expected", "found", "retry_after"}
    assert refused[0].headers["retry-after"] == str(problem["details"]["retry_after"])
    assert int(refused[0].headers["retry-after"]) >= 1


def test_too_many_events_are_refused_and_nothing_of_them_is_stored(client):
    change(client, events_per_s=1)
    run_id, events = client.create(), [event("run_started", 1)]
    events += [event("step_started", n, {}, step_id=str(n)) for n in range(2, 60)]
    assert client.send(run_id, events).status_code == 200
    more = event("step_started", 60, {}, step_id="60")
    assert_refused(client.send(run_id, [more]), "rate_limited", 429)
    assert client.row(run_id)["events"] == 59
    change(client, events_per_s=None)


def test_one_stream_more_is_refused(client):
    change(client, streams=1)
    run_id = client.create()
    path = f"/runs/{run_id}/events/stream"
    with client.http.stream("GET", path) as first:
        assert first.status_code == 200
        assert_refused(client.http.get(path), "rate_limited", 429)


def test_an_import_goes_on_after_it_was_told_to_wait(server, client):
    """The library waits as long as it is told, and everything comes in once."""
    change(client, requests_per_s=20)
    log = short_run()
    with connect(server.url, server.api_key) as store:
        ids = []
        for _ in range(70):
            ids.append(store.create_run(RunHeader(name="slow")))
            store.append(ids[-1], log.events, log.bodies)
        # whoever has asked too much waits as well to be asked for less: what was taken at the old
        # rate is still being made up for
        until_refused(client)
        store.administration.change_limits({"requests_per_s": None})
        rows = store.runs(limit=500).to_dicts()
    assert sorted(row["run_id"] for row in rows) == sorted(ids)
    assert {row["events"] for row in rows} == {len(log.events)}


def until_refused(client):
    while client.http.get("/runs").status_code != 429:
        pass


def turns_of_others(packed, encoding):
    """How often other requests get a turn while this one's body is unpacked."""

    async def receive():
        return {"type": "http.request", "body": packed}

    async def unpack():
        turns = 0

        async def others():
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        scope = {"type": "http", "headers": [(b"content-encoding", encoding.encode())]}
        going = asyncio.create_task(others())
        await read_body(Request(scope, receive))
        going.cancel()
        return turns

    return asyncio.run(unpack())


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_what_unpacks_to_much_holds_up_no_other_request(pack):
    encoding = "gzip" if pack is gzip.compress else "zstd"
    assert turns_of_others(pack(b" " * 2**22), encoding) > 0
    assert turns_of_others(pack(b" " * 500), encoding) == 0, "a little is not worth a thread"


def test_zstd_that_does_not_say_its_size_is_taken_for_much():
    silent = zstandard.ZstdCompressor(write_content_size=False)
    assert turns_of_others(silent.compress(b" " * 500), "zstd") > 0
