"""A connection to a server that is slow: so many bytes a second in each direction."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_PART = 512


class Slow:
    """Listens on a port and hands on what comes, at `rate` bytes a second; None is at once."""

    def __init__(self, port: int, *, rate: float | None) -> None:
        self.rate = rate
        self.passed = 0
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def close(self) -> None:
        for each in (self._listener, *self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                here, _ = self._listener.accept()
                there = socket.create_connection(("127.0.0.1", self._to))
                self._open += [here, there]
                for one, other in ((here, there), (there, here)):
                    threading.Thread(target=self._hand_on, args=(one, other), daemon=True).start()

    def _hand_on(self, one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while part := one.recv(_PART if self.rate else 2**16):
                if self.rate:
                    time.sleep(len(part) / self.rate)
                other.sendall(part)
                self.passed += len(part)
            other.shutdown(socket.SHUT_WR)


@contextmanager
def slow(port: int, *, rate: float | None) -> Iterator[Slow]:
    """Stand in front of a server until the block ends."""
    made = Slow(port, rate=rate)
    try:
        yield made
    finally:
        made.close()
