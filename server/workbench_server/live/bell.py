"""Wake-ups between processes by NOTIFY: best effort, few, and without anybody's identifiers."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
from base64 import b64encode
from typing import TYPE_CHECKING

import psycopg

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable
    from uuid import UUID

    Place = tuple[UUID, UUID]

_CHANNEL = "workbench_live"
_EVERYWHERE = "*"
_FLUSH_S = 0.04  # half of what a follower at another server may have to wait longer
_MARK_BYTES = 12
_MARK_CHARS = 16
_NAME_CHARS = 8
_PAYLOAD_CHARS = 7_900  # NOTIFY takes less than 8000 bytes
_MOST_MARKS = 4 * _PAYLOAD_CHARS // _MARK_CHARS
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 5.0

_log = logging.getLogger("workbench.live")


def mark_of(place: Place) -> str:
    """Return what stands for a workspace's run in a notification: nobody reads the ids back."""
    workspace_id, run_id = place
    raw = hashlib.blake2b(workspace_id.bytes + run_id.bytes, digest_size=_MARK_BYTES).digest()
    return b64encode(raw).decode()


class Bell:
    """Rings for runs that changed here, and hears what other processes ring for."""

    def __init__(self, url: str, heard: Callable[[Iterable[str] | None], None]) -> None:
        self._url = url
        self._heard = heard
        self._name = secrets.token_hex(_NAME_CHARS // 2)
        self._changed: set[Place] = set()
        self._due = asyncio.Event()

    def ring(self, place: Place) -> None:
        """Tell the other processes soon; several rings for a run become one."""
        self._changed.add(place)
        self._due.set()

    async def listen(self) -> None:
        """Hear the others, for ever; a lost connection is made anew."""
        pause = _FIRST_PAUSE_S
        while True:
            try:
                async for payload in self._notifications():
                    pause = _FIRST_PAUSE_S
                    self._hear(payload)
            except (psycopg.Error, OSError) as error:
                _log.debug("listening was interrupted: %s", error)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    async def _notifications(self) -> AsyncIterator[str]:
        async with await _connect(self._url) as connection:
            await connection.execute(f"listen {_CHANNEL}")
            # What was rung while nobody listened is lost.
            yield _EVERYWHERE
            async for notification in connection.notifies():
                yield notification.payload

    def _hear(self, payload: str) -> None:
        if payload == _EVERYWHERE:
            self._heard(None)
        elif not payload.startswith(self._name):
            marks = payload[_NAME_CHARS:]
            everywhere = marks == _EVERYWHERE
            self._heard(None if everywhere else _cut(marks, _MARK_CHARS))

    async def flush(self) -> None:
        """Send what is due, at most every few milliseconds, for ever."""
        pause = _FIRST_PAUSE_S
        while True:
            try:
                async with await _connect(self._url) as connection:
                    while True:
                        await self._due.wait()
                        pause = _FIRST_PAUSE_S
                        await self._send(connection)
                        await asyncio.sleep(_FLUSH_S)
            except (psycopg.Error, OSError) as error:
                _log.debug("notifying was interrupted: %s", error)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    async def _send(self, connection: psycopg.AsyncConnection) -> None:
        changed, self._changed = self._changed, set()
        self._due.clear()
        try:
            for payload in _payloads(changed):
                said = [_CHANNEL, self._name + payload]
                await connection.execute("select pg_notify(%s, %s)", said)
        except (psycopg.Error, OSError):
            self._changed |= changed
            self._due.set()
            raise


def _payloads(changed: set[Place]) -> list[str]:
    if len(changed) > _MOST_MARKS:
        return [_EVERYWHERE]
    return list(_cut("".join(map(mark_of, changed)), _PAYLOAD_CHARS // _MARK_CHARS * _MARK_CHARS))


def _cut(text: str, size: int) -> Iterable[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]


async def _connect(url: str) -> psycopg.AsyncConnection:
    return await psycopg.AsyncConnection.connect(
        url,
        autocommit=True,
        application_name="workbench-live",
        # A wake-up need not be durable, so it never waits for the disk.
        options="-c synchronous_commit=off",
        keepalives_idle=30,
        keepalives_interval=10,
        keepalives_count=3,
    )
