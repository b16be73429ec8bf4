"""From a commit to the follower's frame at 500 events a second, against a look each second.

The time of each event is from the beginning of the transaction that stored it (``received_at``) to
the moment at which a loop over ``store.follow`` holds its frame; so the commit itself is within.
"""

from __future__ import annotations

import multiprocessing as mp
import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import events as made
import load
from figure import Figure, percentile, say

from workbench.store import connect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stack import Stack

_RATE, _BATCH, _SECONDS = 500, 5, 12
_CROWD = 50
_WARM_EVENTS = 500
_CONTEXT = mp.get_context("spawn")


def figures(stack: Stack) -> Iterator[Figure]:
    say("live, one follower")
    followed, polled = _measure(stack, stack.url)
    wanted = "p95 at most 120 ms"
    for share, name in ((0.5, "p50"), (0.95, "p95"), (0.99, "p99")):
        yield Figure(
            figure=f"live, commit to frame, {_RATE} events/s, {name}",
            value=percentile(followed, share),
            unit="ms",
            baseline="the events polled each second",
            baseline_value=percentile(polled, share),
            wanted=wanted if name == "p95" else None,
        )
    say(f"live, {_CROWD} followers more of the same run")
    with _crowd(stack) as crowd:
        followed, _ = _measure(stack, stack.url, crowd=crowd)
    yield _p95(f"the same beside {_CROWD} other followers of the run", followed, polled)
    say("live, through another server")
    with _replica(stack) as url:
        followed, _ = _measure(stack, url)
    yield _p95("the same through another server, woken by NOTIFY", followed, polled)


def _p95(name: str, followed: list[float], polled: list[float]) -> Figure:
    return Figure(
        figure=f"live, {name}, p95",
        value=percentile(followed, 0.95),
        unit="ms",
        baseline="the events polled each second",
        baseline_value=percentile(polled, 0.95),
        wanted="at most 120 ms",
    )


def _measure(stack: Stack, url: str, *, crowd=None) -> tuple[list[float], list[float]]:
    """Return the times in ms that one follower and one poller saw, both of the same events."""
    total = _WARM_EVENTS + _RATE * _SECONDS
    with connect(stack.url, stack.api_key) as store:
        run_id = _run(stack)
        if crowd is not None:
            crowd.follow(run_id)
        answers = _CONTEXT.Queue()
        readers = [
            _CONTEXT.Process(target=reader, args=(at, stack.api_key, run_id, total, answers))
            for at, reader in ((url, _follow), (stack.url, _poll))
        ]
        for process in readers:
            process.start()
        for _ in readers:
            assert answers.get(timeout=60) == "ready"
        _write(stack, run_id, total)
        found = dict(answers.get(timeout=60) for _ in readers)
        for process in readers:
            process.join()
        assert store.row(run_id)["events"] == total
    return found["followed"][_WARM_EVENTS:], found["polled"][_WARM_EVENTS:]


def _run(stack: Stack) -> str:
    with stack.client() as client:
        return client.post("/runs", json={"name": "live"}).json()["run_id"]


def _write(stack: Stack, run_id: str, total: int) -> None:
    """Send batches at the same rate whatever their answers take."""
    path = f"/runs/{run_id}/events"
    bodies = made.batches(made.made(total), size=_BATCH)
    requests = [load.request(stack, path, body) for body in bodies]
    process = _CONTEXT.Process(target=_pace, args=(stack.url, requests))
    process.start()
    process.join()


def _pace(url: str, requests: list[bytes]) -> None:
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as line:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        began = time.monotonic()
        for number, one in enumerate(requests):
            time.sleep(max(0.0, began + number * _BATCH / _RATE - time.monotonic()))
            line.sendall(one)
            load._read_answer(line)


def _follow(url: str, api_key: str, run_id: str, total: int, answers) -> None:
    with connect(url, api_key) as store:
        following = store.follow(run_id)
        threading.Timer(0.5, answers.put, ["ready"]).start()
        times: list[float] = []
        for frame in following:
            times += _ages(frame)
            if len(times) == total:
                break
        following.close()
    answers.put(("followed", times))


def _poll(url: str, api_key: str, run_id: str, total: int, answers) -> None:
    with connect(url, api_key) as store:
        answers.put("ready")
        times: list[float] = []
        while len(times) < total:
            time.sleep(1)
            times += _ages(store.events(run_id, after=len(times)))
    answers.put(("polled", times))


def _ages(frame) -> list[float]:
    now = time.time()
    return [(now - at.timestamp()) * 1000 for at in frame["received_at"]]


class _Crowd:
    """Followers that read and forget, in a process of their own."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self.process: mp.Process | None = None

    def follow(self, run_id: str) -> None:
        ready = _CONTEXT.Event()
        asking = (
            f"GET /v1/runs/{run_id}/events/stream HTTP/1.1\r\nhost: x\r\n"
            f"authorization: Bearer {self._stack.api_key}\r\n\r\n"
        ).encode()
        self.process = _CONTEXT.Process(
            target=_read_and_forget, args=(self._stack.url, asking, ready), daemon=True
        )
        self.process.start()
        ready.wait(60)


def _read_and_forget(url: str, asking: bytes, ready) -> None:
    import selectors

    host, port = url.removeprefix("http://").split(":")
    with selectors.DefaultSelector() as waiting:
        for _ in range(_CROWD):
            line = socket.create_connection((host, int(port)))
            line.sendall(asking)
            line.recv(65536)
            waiting.register(line, selectors.EVENT_READ)
        ready.set()
        while True:
            for key, _ in waiting.select():
                key.fileobj.recv(2**20)


@contextmanager
def _crowd(stack: Stack):
    crowd = _Crowd(stack)
    try:
        yield crowd
    finally:
        if crowd.process is not None:
            crowd.process.terminate()
            crowd.process.join()


@contextmanager
def _replica(stack: Stack):
    """Start one more server on the stack's database and objects."""
    wanted = ("PATH", "LANG", "PYTHONPATH", "TMPDIR", "HOME")
    own = {name: os.environ[name] for name in wanted if name in os.environ}
    process = subprocess.Popen(
        [sys.executable, "-m", "workbench_server", "serve", "--port", "0"],
        env=own | {
            "WORKBENCH_APP_DATABASE_URL": stack.app_url,
            "WORKBENCH_STORAGE_URL": str(stack.home.path / "objects"),
        },
        stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    try:
        yield next(
            line.split("listening on ", 1)[1].strip()
            for line in process.stderr
            if "listening on " in line
        )
    finally:
        process.terminate()
        process.communicate(timeout=20)
