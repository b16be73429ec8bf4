"""Logs as JSON, one object a line on standard error, with the ids of what is being done.

The lines a command says to whoever started it (ready, or why it cannot start) stay plain text.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
from collections import deque
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from workbench.masking import without_secrets

if TYPE_CHECKING:
    from collections.abc import Iterator

_MOST_WAITING = 10_000
_STANDARD_ERROR = 2
_bound: ContextVar[dict[str, Any] | None] = ContextVar("bound", default=None)


@contextmanager
def binding(**ids: Any) -> Iterator[dict[str, Any]]:
    """Put these ids on every line logged within."""
    known = {name: value for name, value in ids.items() if value is not None}
    token = _bound.set((_bound.get() or {}) | known)
    try:
        yield _bound.get() or {}
    finally:
        _bound.reset(token)


def bind(**ids: Any) -> None:
    """Put more ids on the lines of the request or job that is being worked on."""
    bound = _bound.get()
    if bound is not None:
        bound.update(ids)


def configure(level: str) -> None:
    """Send everything that is logged to standard error as JSON."""
    handler = _Handler()
    handler.setFormatter(Lines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # What a library says of its own progress is of no use to who runs the service.
    for name in ("uvicorn", "psycopg", "procrastinate", "pyiceberg", "botocore", "aiobotocore"):
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLogger().level))
    logging.getLogger("uvicorn.error").addFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    """Leave out what `edge` and `protocol` log themselves, with the request's id."""
    known = ("Exception in ASGI application", "Invalid HTTP request received")
    return not record.getMessage().startswith(known)


class Lines(logging.Formatter):
    """A record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; a traceback is one text in it."""
        facts: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        facts |= _bound.get() or {}
        facts |= getattr(record, "facts", None) or {}
        if record.exc_info:
            facts["exception"] = self.formatException(record.exc_info)
        return without_secrets(msgspec.json.encode(facts, enc_hook=str).decode())


class _Handler(logging.Handler):
    """Write from a thread of its own: a log that nobody reads must not stop the service."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: deque[str] = deque()
        self._dropped = 0
        self._wake = threading.Condition()
        self._writer = threading.Thread(target=self._write, name="logs", daemon=True)
        self._writer.start()
        atexit.register(self.drain)

    def emit(self, record: logging.LogRecord) -> None:
        line = self.format(record)
        with self._wake:
            if len(self._lines) < _MOST_WAITING:
                self._lines.append(line)
            else:
                self._dropped += 1
            self._wake.notify()

    def drain(self, *, patience_s: float = 1.0) -> None:
        """Wait until all is written, but not for ever."""
        with self._wake:
            self._wake.wait_for(lambda: not self._lines, patience_s)

    def _write(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._lines)
                lines, dropped = list(self._lines), self._dropped
                self._dropped = 0
            if dropped:
                lines.append(_dropped_line(dropped))
            _say("".join(f"{line}\n" for line in lines))
            with self._wake:
                for _ in range(len(lines) - bool(dropped)):
                    self._lines.popleft()
                self._wake.notify_all()


def _dropped_line(count: int) -> str:
    facts = {
        "time": datetime.now(UTC),
        "level": "warning",
        "logger": __name__,
        "message": f"{count} lines were dropped because nobody read the log",
    }
    return msgspec.json.encode(facts).decode()


def _say(text: str) -> None:
    """Write past Python's buffer: a thread stuck in it would break the process's end."""
    left = memoryview(text.encode())
    try:
        while left:
            left = left[os.write(_STANDARD_ERROR, left) :]
    except OSError:  # its reader went away
        return
