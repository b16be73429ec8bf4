"""What a signal does: the first asks to stop, the second ends at once."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_AT_ONCE = 1  # the exit code of a process that was not let finish


class Stop:
    """The wish to stop; a process that has not stopped after `patience_s` is ended."""

    def __init__(self, *, patience_s: float) -> None:
        self._patience_s = patience_s
        self._is_asked = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._event = asyncio.Event()

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Take SIGINT and SIGTERM as the wish to stop."""
        before = {number: signal.signal(number, self._signalled) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def asked(self) -> None:
        """Wait until somebody asks."""
        self._loop = asyncio.get_running_loop()
        if self._is_asked:
            return
        await self._event.wait()

    def _signalled(self, *_: Any) -> None:
        if self._is_asked:
            os._exit(_AT_ONCE)
        self._is_asked = True
        watchdog = threading.Timer(self._patience_s, os._exit, [_AT_ONCE])
        watchdog.daemon = True
        watchdog.start()
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._event.set)
