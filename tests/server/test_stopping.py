"""A server that is told to stop finishes what it began, and then is gone."""

import json
import signal
import socket
import threading
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest
from running import _serving, _url_of, make_workspace, service
from speaking import Client, event

PATIENCE_S = 30


def wait_until(is_so, *, within_s=PATIENCE_S):
    pause = threading.Event()
    for _ in range(int(within_s / 0.02)):
        if is_so():
            return
        pause.wait(0.02)
    raise AssertionError("it never came to that")


def refuses(url):
    place = urlsplit(url)
    try:
        socket.create_connection((place.hostname, place.port), timeout=5).close()
    except OSError:
        return True
    return False


def ready(url):
    with suppress(httpx.HTTPError):
        return httpx.get(f"{url}/v1/ready").status_code
    return None


@contextmanager
def client_of(server):
    client = Client(server.url, server.api_key)
    try:
        yield client
    finally:
        client.http.close()


def a_run(server):
    with client_of(server) as client:
        return client.create()


@pytest.fixture
def draining_server(database, server_environment):
    """A server that still answers for a minute after it was told to stop."""
    with _serving(database, server_environment | {"WORKBENCH_DRAIN_S": "60"}) as running:
        yield running


class Load:
    """Writers that append without a pause, and count what was acknowledged."""

    def __init__(self, server, writers):
        self.server, self.acknowledged = server, {}
        self.threads = [threading.Thread(target=self._write) for _ in range(writers)]
        self.enough = threading.Barrier(writers + 1)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        self.enough.wait(PATIENCE_S)
        return self

    def __exit__(self, *_):
        for thread in self.threads:
            thread.join(PATIENCE_S)

    def _write(self):
        with client_of(self.server) as client, suppress(httpx.TransportError):
            run_id = client.create()
            self.acknowledged[run_id] = 0
            for first in range(1, 100_000, 20):
                batch = [event("step_started", number) for number in range(first, first + 20)]
                if client.send(run_id, batch).status_code != 200:
                    return
                self.acknowledged[run_id] += 20
                if first == 41:
                    self.enough.wait(PATIENCE_S)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_was_acknowledged_is_there_after_a_stop_under_load(own_server, number):
    with Load(own_server, writers=4) as load:
        own_server.process.send_signal(number)
        assert own_server.process.wait(PATIENCE_S) == 0
    assert len(load.acknowledged) == 4
    with psycopg.connect(own_server.database.owner_url) as connection:
        stored = {
            str(run_id): seqs
            for run_id, seqs in connection.execute(
                "select run_id, array_agg(seq order by seq) from events group by run_id"
            )
        }
    for run_id, acknowledged in load.acknowledged.items():
        seqs = stored[run_id]
        assert seqs == list(range(1, len(seqs) + 1))
        assert len(seqs) % 20 == 0
        assert len(seqs) - acknowledged in (0, 20)


def begin(server, run_id, body):
    """Send all but the end of a request."""
    place = urlsplit(server.url)
    opened = socket.create_connection((place.hostname, place.port), timeout=PATIENCE_S)
    head = (
        f"POST /v1/runs/{run_id}/events HTTP/1.1\r\nHost: x\r\n"
        f"Authorization: Bearer {server.api_key}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    opened.sendall(head.encode() + body[:-1])
    return opened


def in_flight(url):
    text = httpx.get(f"{url}/metrics").text
    line = next(x for x in text.splitlines() if x.startswith("workbench_http_requests_in_flight"))
    return float(line.split()[1]) - 1  # but for the one that asks


def a_body():
    return b'{"events":[{"event_type":"step_started","writer":"w","writer_seq":1}]}'


def test_a_request_that_has_begun_is_finished_and_the_connection_closed(own_server):
    run_id = a_run(own_server)
    opened = begin(own_server, run_id, a_body())
    wait_until(lambda: in_flight(own_server.url) == 1)
    own_server.process.terminate()
    wait_until(lambda: refuses(own_server.url))
    threading.Event().wait(0.5)  # longer than a server that does not care would wait
    opened.sendall(a_body()[-1:])
    with opened.makefile("rb") as file:
        head, _, answer = file.read().partition(b"\r\n\r\n")  # until the server closes
    opened.close()
    assert head.startswith(b"HTTP/1.1 200")
    assert json.loads(answer)["accepted"] == 1
    assert own_server.process.wait(PATIENCE_S) == 0


def test_a_request_that_never_ends_is_broken_off_and_leaves_nothing(own_server):
    opened = begin(own_server, a_run(own_server), a_body())
    wait_until(lambda: in_flight(own_server.url) == 1)
    own_server.process.terminate()
    assert own_server.process.wait(PATIENCE_S) == 0
    opened.close()
    with psycopg.connect(own_server.database.owner_url) as connection:
        assert connection.execute("select count(*) from events").fetchone() == (0,)


def test_a_second_signal_ends_the_server_at_once(own_server):
    opened = begin(own_server, a_run(own_server), a_body())
    wait_until(lambda: in_flight(own_server.url) == 1)
    own_server.process.send_signal(signal.SIGTERM)
    wait_until(lambda: refuses(own_server.url))
    own_server.process.send_signal(signal.SIGINT)
    assert own_server.process.wait(PATIENCE_S) == 1
    opened.close()


def test_a_stopping_server_is_not_ready_but_alive_until_it_is_drained(draining_server):
    url = draining_server.url
    assert ready(url) == 200
    draining_server.process.terminate()
    wait_until(lambda: ready(url) == 503)
    problem = httpx.get(f"{url}/v1/ready").json()
    assert (problem["code"], problem["details"]["found"]) == ("unavailable", "it is stopping")
    assert httpx.get(f"{url}/v1/health").status_code == 200
    with client_of(draining_server) as client:
        assert client.row(client.create())["status"] == "running"
    draining_server.process.terminate()
    assert draining_server.process.wait(PATIENCE_S) == 1


def test_a_follower_is_told_that_the_server_stops(own_server):
    path = f"/runs/{a_run(own_server)}/events/stream"
    with client_of(own_server) as client, client.http.stream("GET", path) as answer:
        lines = answer.iter_lines()
        next(lines)
        own_server.process.terminate()
        assert "event: shutdown" in list(lines)
    assert own_server.process.wait(PATIENCE_S) == 0


def test_a_log_that_nobody_reads_stops_nobody(database, server_environment):
    workspace = make_workspace(database, "unread")
    with service("serve", "--port", "0", environment=server_environment) as process:
        with Client(_url_of(process), workspace.api_key).http as http:
            for _ in range(400):  # far more than a pipe takes
                assert http.get("/nowhere").status_code == 404
        process.terminate()
        process.stderr.read()
        assert process.wait(PATIENCE_S) == 0
