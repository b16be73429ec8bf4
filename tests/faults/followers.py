"""A reader of a run's stream that comes back after each break with the last id it has."""

from __future__ import annotations

import http.client
import json
import socket
import struct
import threading
import time
from typing import TYPE_CHECKING, Any

from machines import PATIENCE_S

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator, Sequence

_RESET = struct.pack("ii", 1, 0)  # linger for no time: close() sends a reset, not a FIN


class Follower(threading.Thread):
    """Collects (seq, digest) of every event until the stream says that the run has ended.

    `back` says where to go on from, by what was seen; an honest reader gives the last id. It breaks
    its connection off after as many blocks as one of `breaks`.
    """

    def __init__(
        self,
        name: str,
        run_id: str,
        *,
        address: Callable[[], tuple[str, int]],
        api_key: str,
        rng: random.Random,
        back: Callable[[int], int] = int,
        breaks: Sequence[int] = (1, 20, 100, 10_000),
    ) -> None:
        super().__init__(name=name, daemon=True)
        self.path = f"/v1/runs/{run_id}/events/stream"
        self.address = address
        self.headers = {"Authorization": f"Bearer {api_key}"}
        self.rng = rng
        self.back = back
        self.breaks = breaks
        self.seen: list[tuple[int, str]] = []
        self.said: list[str] = []
        self.connections = 0
        self.wrong: str | None = None
        self._enough = threading.Event()

    def stop(self) -> None:
        self._enough.set()

    def run(self) -> None:
        deadline = time.monotonic() + PATIENCE_S
        try:
            while not self._follow() and not self._enough.is_set():
                if time.monotonic() > deadline:
                    self.wrong = f"{self.name} stands at {self.last}"
                    return
        except Exception as error:  # noqa: BLE001 - told by the case, not by the thread
            self.wrong = f"{self.name}: {error!r}"

    @property
    def last(self) -> int:
        return self.seen[-1][0] if self.seen else 0

    def _follow(self) -> bool:
        """Read one connection until it breaks, or is broken here; say whether the run is over."""
        self.connections += 1
        wanted = self.rng.choice(self.breaks)
        connection = http.client.HTTPConnection(*self.address(), timeout=PATIENCE_S)
        try:
            headers = self.headers | {"Last-Event-ID": str(self.back(self.last))}
            connection.request("GET", self.path, headers=headers)
            answer = connection.getresponse()
            if answer.status != http.HTTPStatus.OK:
                return self._was_refused(answer)
            for block in _blocks(answer):
                if self._take(block):
                    return True
                wanted -= 1
                if not wanted:
                    self._break(connection)
                    return False
        except (OSError, http.client.HTTPException):
            time.sleep(0.01)  # not a condition: the server may be away
        finally:
            connection.close()
        return False

    def _was_refused(self, answer: http.client.HTTPResponse) -> bool:
        text = answer.read()
        if answer.status not in (429, 503):
            raise AssertionError(f"{answer.status} {text!r}")
        time.sleep(0.05)  # not a condition: it said that it is busy
        return False

    def _take(self, block: dict[str, str]) -> bool:
        if "id" in block:
            data = json.loads(block["data"])
            if data["seq"] != int(block["id"]):
                raise AssertionError(f"{block['id']} is the id of {data['seq']}")
            self.seen.append((data["seq"], data["digest"]))
            return False
        self.said.append(block["event"])
        if block["event"] == "problem" and json.loads(block["data"])["code"] != "unavailable":
            raise AssertionError(block["data"])
        return block["event"] == "end"

    def _break(self, connection: http.client.HTTPConnection) -> None:
        if connection.sock is not None and self.rng.random() < 0.5:
            connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)


def _blocks(answer: http.client.HTTPResponse) -> Iterator[dict[str, Any]]:
    """Yield whole blocks; one that broke off in the middle is none."""
    block: dict[str, str] = {}
    while line := answer.readline():
        text = line.decode().rstrip("\n")
        if text:
            name, _, value = text.partition(": ")
            block[name] = f"{block[name]}\n{value}" if name in block else value
        else:
            if "event" in block:
                yield block
            block = {}
