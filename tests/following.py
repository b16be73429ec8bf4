"""Server-sent events read by hand, and servers with a pace of their own."""

from __future__ import annotations

import http.client
import json
import signal
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import pytest
from running import _url_of, make_workspace, service

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

PATIENCE_S = 60.0  # for a machine that hangs, not for one that is busy


def until(said, what):
    """Poll until it is true."""
    deadline = time.monotonic() + PATIENCE_S
    while not (found := said()):
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.01)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One block: `id` is null where the stream speaks of itself."""

    id: int | None
    name: str
    data: Any
    retry: int | None


class Stream:
    """An open stream; iterate over its blocks."""

    def __init__(self, url: str, api_key: str, run_id: str, *, last: Any = None, query: str = ""):
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=PATIENCE_S)
        headers = {"Authorization": f"Bearer {api_key}"}
        if last is not None:
            headers["Last-Event-ID"] = str(last)
        path = f"/v1/runs/{run_id}/events/stream{query}"
        self._connection.request("GET", path, headers=headers)
        self.answer = self._connection.getresponse()
        self.status = self.answer.status

    def __iter__(self) -> Iterator[Said]:
        lines: list[str] = []
        deadline = time.monotonic() + PATIENCE_S
        for raw in self.answer:
            assert time.monotonic() < deadline, "the stream goes on and on"
            line = raw.decode().removesuffix("\n")
            if line:
                lines.append(line)
            else:
                yield _said(lines)
                lines = []
        assert not lines, "the stream broke off within a block"

    def events(self) -> Iterator[Said]:
        return (said for said in self if said.id is not None)

    def heard(self, *, heartbeats: int) -> Said | None:
        """Return the next event, or nothing if so many heartbeats come before it."""
        for said in self:
            if said.id is not None:
                return said
            heartbeats -= said.name == "heartbeat"
            if heartbeats < 0:
                return None
        return None

    def close(self) -> None:
        self.answer.close()
        self._connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def _said(lines: list[str]) -> Said:
    fields: dict[str, list[str]] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        fields.setdefault(name, []).append(value)
    return Said(
        id=int(fields["id"][0]) if "id" in fields else None,
        name=fields["event"][0],
        data=json.loads("\n".join(fields["data"])),
        retry=int(fields["retry"][0]) if "retry" in fields else None,
    )


@dataclass(slots=True, kw_only=True)
class Serving:
    """A server that can be ended and started again at its port."""

    url: str
    api_key: str
    process: subprocess.Popen = field(repr=False)

    def follow(self, run_id: str, **more: Any) -> Stream:
        return Stream(self.url, self.api_key, run_id, **more)

    def streams(self) -> int:
        """How many streams it says are open."""
        text = httpx.get(f"{self.url}/metrics").text
        line = next(line for line in text.splitlines() if line.startswith("workbench_streams_open"))
        return int(float(line.split()[-1]))

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(PATIENCE_S)


@pytest.fixture
def serving(database, server_environment):
    """Start servers on one database: ``serving(port=0, heartbeat_s=0.1, …)``."""
    api_key = make_workspace(database, "followed").api_key
    with ExitStack() as stack:

        def start(*arguments: str, port: int = 0, **pace: Any) -> Serving:
            variables = {f"WORKBENCH_LIVE_{name.upper()}": str(pace[name]) for name in pace}
            process = stack.enter_context(
                service(
                    "serve",
                    "--port",
                    str(port),
                    *arguments,
                    environment=server_environment | variables,
                )
            )
            return Serving(url=_url_of(process), api_key=api_key, process=process)

        yield start


@contextmanager
def interrupted(database, owner):
    """Let nobody into a database, and end those who are in."""
    owner.execute(f"alter database {database.name} allow_connections false")
    try:
        owner.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s",
            [database.name],
        )
        yield
    finally:
        owner.execute(f"alter database {database.name} allow_connections true")
