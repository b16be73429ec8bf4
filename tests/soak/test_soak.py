"""The server under requests that nobody meant to send, for as long as WORKBENCH_SOAK_S says.

Schemathesis makes them out of the OpenAPI document and what earlier answers said, and checks each
answer against the document; a failure comes with the curl command that repeats it. `make soak`
lets it run for ten minutes.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest
from running import make_workspace
from speaking import Client, a_whole_run, event

SECONDS = int(os.environ.get("WORKBENCH_SOAK_S", "60"))

# Of the admins' routes some would make the others useless: keys that end, limits of one request.
ADMIN = "^/v1/(keys|limits)"
STREAM = "/v1/runs/{run_id}/events/stream"
# Whether a value is good is more than a schema can say: digests, numbers that go on, cursors.
LEFT_OUT = "positive_data_acceptance,negative_data_rejection"
SEQS = ["0", "1", "2", "4", "5", "99999999999999999999", "-1", "", "x", "1.5", "\x00", "٣", "1e3"]

pytestmark = pytest.mark.slow


class Watch:
    """What the server says and how much memory it has, read while others ask it."""

    def __init__(self, server):
        self._server, self._done = server, threading.Event()
        self._process = psutil.Process(server.process.pid)
        self.errors, self.sizes = [], []
        self._threads = [threading.Thread(target=work) for work in (self._read, self._weigh)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._done.set()
        self._server.process.terminate()
        for thread in self._threads:
            thread.join(30)

    def _read(self):
        for line in self._server.process.stderr:
            if json.loads(line)["level"] in {"error", "critical"}:
                self.errors.append(line)

    def _weigh(self):
        while not self._done.wait(SECONDS / 120):
            with suppress(psutil.NoSuchProcess):
                self.sizes.append(self._process.memory_info().rss / 2**20)

    def is_flat(self):
        third = len(self.sizes) // 3
        before, after = max(self.sizes[third : 2 * third]), max(self.sizes[2 * third :])
        print(f"memory: {before:.0f} MB in the middle third, {after:.0f} MB in the last")
        return after <= 1.25 * before + 8


class Followers:
    """Follow runs from anywhere, well or badly said, and leave after a moment."""

    def __init__(self, server, run_ids):
        self._client, self._run_ids = Client(server.url, server.api_key), run_ids
        self._done = threading.Event()
        self.seen = {}
        self._threads = [threading.Thread(target=self._follow, args=(n,)) for n in range(2)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._done.set()
        for thread in self._threads:
            thread.join(30)
        self._client.http.close()

    def _follow(self, seed):
        chance = random.Random(seed)
        while not self._done.wait(0.05):
            headers = (
                {"Last-Event-ID": chance.choice(SEQS).encode()} if chance.random() < 0.7 else {}
            )
            query = {"after": chance.choice(SEQS)} if chance.random() < 0.5 else {}
            path = f"/runs/{chance.choice(self._run_ids)}/events/stream"
            with (
                suppress(
                    httpx.TimeoutException, httpx.RemoteProtocolError, httpx.LocalProtocolError
                ),
                self._client.http.stream(
                    "GET", path, headers=headers, params=query, timeout=0.5
                ) as answer,
            ):
                kind = answer.headers["content-type"]
                self.seen[answer.status_code, kind] = (
                    self.seen.get((answer.status_code, kind), 0) + 1
                )
                for _ in zip(answer.iter_lines(), range(chance.randint(1, 50)), strict=False):
                    pass


def fuzz(url, api_key, seconds, folder, *choice):
    """Run schemathesis; its output is shown by pytest where it fails."""
    command = [
        Path(sys.executable).with_name("schemathesis"), "run", f"{url}/openapi.json",
        "--header", f"Authorization: Bearer {api_key}", "--max-time", str(seconds),
        "--exclude-checks", LEFT_OUT, "--request-timeout", "20", "--continue-on-failure",
        "--suppress-health-check", "all", "--warnings", "off",
        "--exclude-path", STREAM, *choice,
    ]  # fmt: skip
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=seconds + 300, check=False
    )
    print(done.stdout[-20_000:], done.stderr[-5_000:])
    return done.returncode


def some_runs(server):
    client = Client(server.url, server.api_key)
    ended, open_, empty = (client.create(name=name, session="s") for name in ("a", "b", "c"))
    events, bodies = a_whole_run()
    assert client.send(ended, events, bodies).status_code == 200
    assert client.send(open_, [event("step_started", n) for n in range(1, 6)]).status_code == 200
    client.http.close()
    return [ended, open_, empty, "00000000-0000-0000-0000-000000000000", "none"]


def test_no_request_breaks_the_server(own_server, tmp_path):
    admin = make_workspace(own_server.database, "admin")
    with Watch(own_server) as watch, Followers(own_server, some_runs(own_server)) as followers:
        most = fuzz(
            own_server.url, own_server.api_key, SECONDS * 5 // 6, tmp_path,
            "--exclude-path-regex", ADMIN,
        )  # fmt: skip
        rest = fuzz(
            own_server.url, admin.api_key, SECONDS // 6, tmp_path, "--include-path-regex", ADMIN
        )
        assert own_server.process.poll() is None
        assert httpx.get(f"{own_server.url}/v1/ready").status_code == 200
    assert watch.errors == []
    assert (most, rest) == (0, 0)
    print(followers.seen)
    assert {status for status, _ in followers.seen} == {200, 404, 422}
    assert watch.is_flat()
