"""The least that recording needs: two sealed events a call, on the disk and sent, and nothing else.

There is no lane, no redaction, no retry and no type: what is left is what the format itself costs,
its JSON, its hashes, one write and one request for many events.
"""

from __future__ import annotations

import hashlib
import itertools
import tempfile
import threading
import urllib.request
from collections import deque
from typing import TYPE_CHECKING

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterator

_MOST = 250  # calls in one request
_PAUSE_S = 0.02
_WRITER = "w" * 16


class Least:
    """Takes what was asked and what came of it as bytes; a thread behind does the rest."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._waiting: deque[tuple[int, bytes, bytes]] = deque()
        self._numbers = itertools.count(1)
        self._over = threading.Event()
        self._spool = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - closed by `close`
        self._thread = threading.Thread(target=self._send)
        self._thread.start()

    def take(self, asked: bytes, came: bytes) -> None:
        """Keep a call."""
        self._waiting.append((next(self._numbers), asked, came))

    def close(self) -> None:
        """Write and send what is left."""
        self._over.set()
        self._thread.join()
        self._spool.close()

    def _send(self) -> None:
        while self._waiting or not self._over.is_set():
            self._over.wait(_PAUSE_S)
            calls = [self._waiting.popleft() for _ in range(min(len(self._waiting), _MOST))]
            if calls:
                lines = b"\n".join(line for call in calls for line in _events(*call))
                self._spool.write(lines)
                urllib.request.urlopen(urllib.request.Request(self._url, lines)).read()


def _events(number: int, asked: bytes, came: bytes) -> Iterator[bytes]:
    signature = hashlib.sha256(asked).hexdigest()
    content = hashlib.sha256(asked + came).digest()
    place = {"ordinal": number, "step_id": f"{_WRITER}-{number}"}
    begun = {"effect": "read", "order": "declared", "signature": signature, "status": "running"}
    ended = {"content_hash": int.from_bytes(content[:7]), "duration_ms": 0.012, "status": "ok"}
    yield _sealed(asked, event_type="call_started", writer_seq=2 * number, **place, **begun)
    yield _sealed(came, event_type="call_ended", writer_seq=2 * number + 1, **place, **ended)


def _sealed(payload: bytes, **fields: object) -> bytes:
    envelope = orjson.dumps(
        {
            **fields,
            "kind": "model",
            "lane": "root",
            "name": "answer",
            "parent_step_id": _WRITER,
            "started_at": "2026-01-01T00:00:00.000000Z",
            "version": 1,
            "writer": _WRITER,
        },
        option=orjson.OPT_SORT_KEYS,
    )
    digest = hashlib.sha256(b"%b\n%b" % (envelope, payload)).hexdigest().encode()
    return b'%b,"digest":"%b","payload":%b}' % (envelope[:-1], digest, payload)
