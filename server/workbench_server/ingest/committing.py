"""Stores the batches of many requests together: a transaction takes what gathered during the last.

Nobody waits for company: a batch that comes alone goes alone. What cannot be stored by the one
statement for plain batches is looked at closely, in a transaction of its own.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
import psycopg

from workbench.errors import Unavailable, WorkbenchError
from workbench_server.database import connected
from workbench_server.ingest import writing
from workbench_server.ingest.rows import rows_of
from workbench_server.queries import queries

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from workbench_server.database import Pool
    from workbench_server.ingest.writing import Prepared, Receipt

LANES = 2
_log = logging.getLogger("workbench.ingest")
_MUCH = 100  # events: about as much work for the database as a transaction is by itself
_MOST_BATCHES = 64
_MOST_EVENTS = 4_000
MOST_BYTES = 2**23  # of a group: what is stored stands in memory several times over meanwhile


@dataclass(slots=True, kw_only=True)
class _Waiting:
    batch: Prepared
    first_seq: asyncio.Future[int | None] = field(default_factory=asyncio.Future)


class Committer:
    """Stores prepared batches; each answer comes after the commit of its events."""

    def __init__(self, pool: Pool, commits: Pool) -> None:
        self._pool, self._commits = pool, commits
        self._waiting: deque[_Waiting] = deque()
        self._busy: set[tuple[UUID, UUID]] = set()
        self._lanes: set[asyncio.Task[None]] = set()

    async def store(self, batch: Prepared) -> Receipt:
        """Store a batch, with others where others wait, and say what became of it."""
        if batch.summary is None:
            return await writing.store(self._pool, batch)
        mine = _Waiting(batch=batch)
        self._waiting.append(mine)
        self._start_lanes()
        first = await mine.first_seq
        if first is None:
            return await writing.store(self._pool, batch)
        return writing.all_of(batch, first_seq=first)

    async def close(self) -> None:
        """End when nothing waits any more."""
        while self._lanes:
            await asyncio.gather(*self._lanes, return_exceptions=True)

    def _start_lanes(self) -> None:
        """Open a lane, and a second one where much waits: little is better off in one group."""
        while len(self._lanes) < LANES and (not self._lanes or self._much_waits()):
            group = self._take()
            if not group:
                return
            lane = asyncio.create_task(self._lane(group))
            self._lanes.add(lane)
            lane.add_done_callback(self._ended)

    def _much_waits(self) -> bool:
        return sum(len(one.batch.checked) for one in self._waiting) >= _MUCH

    async def _lane(self, group: list[_Waiting]) -> None:
        """Commit a group, and what gathered meanwhile, until nothing is left."""
        while group:
            try:
                await self._commit(group)
            finally:
                self._busy.difference_update(one.batch.place for one in group)
            group = self._take()

    def _ended(self, lane: asyncio.Task[None]) -> None:
        self._lanes.discard(lane)
        self._start_lanes()

    def _take(self) -> list[_Waiting]:
        """Take what waits for one workspace, a batch of each run, and no run that is under way."""
        group: list[_Waiting] = []
        left: deque[_Waiting] = deque()
        events, size, passed = 0, 0, set(self._busy)
        for one in self._waiting:
            place = one.batch.place
            fits = not group or (
                place[0] == group[0].batch.workspace_id
                and len(group) < _MOST_BATCHES
                and events + len(one.batch.checked) <= _MOST_EVENTS
                and size + one.batch.bytes <= MOST_BYTES
            )
            if fits and place not in passed:
                group.append(one)
                events += len(one.batch.checked)
                size += one.batch.bytes
            else:
                left.append(one)
            passed.add(place)
        self._waiting = left
        self._busy.update(one.batch.place for one in group)
        return group

    async def _commit(self, group: list[_Waiting]) -> None:
        """Store a group in one statement, which is its own transaction."""
        try:
            async with connected(self._commits) as connection:
                cursor = await connection.execute(
                    queries("ingest")["append_batches"],
                    parameters_of([one.batch for one in group]),
                    prepare=True,
                )
                row = await cursor.fetchone()
        except Unavailable as error:
            _answer_all(group, error)
        except psycopg.Error as error:
            # One of them is at fault; by itself each is told what.
            _log.info("%d batches go one by one: %s", len(group), type(error).__name__)
            _answer_all(group, None)
        except BaseException:
            _answer_all(group, Unavailable("the server stops", hint="Send the batch again."))
            raise
        else:
            firsts = row["firsts"] if row else [None] * len(group)
            for one, first in zip(group, firsts, strict=True):
                _answer(one, first)


def _answer_all(group: list[_Waiting], answer: WorkbenchError | None) -> None:
    for one in group:
        _answer(one, answer)


def _answer(one: _Waiting, answer: int | WorkbenchError | None) -> None:
    if one.first_seq.done():
        return  # whoever waited has gone
    if isinstance(answer, WorkbenchError):
        one.first_seq.set_exception(answer)
    else:
        one.first_seq.set_result(answer)


def parameters_of(batches: Sequence[Prepared]) -> dict[str, Any]:
    """Return what the statement takes: the batches, their rows, and all bytes of the payloads."""
    rows: list[bytes] = []
    payloads: list[bytes] = []
    at = 0
    bodies: list[tuple[bytes, bytes, int]] = []
    for place, batch in enumerate(batches, start=1):
        rows.append(rows_of(batch.checked, place=place, at=at))
        payloads.extend(checked.payload for checked in batch.checked)
        at += sum(len(checked.payload) for checked in batch.checked)
        bodies.extend((bytes.fromhex(d), body, place) for d, body in batch.bodies.items())
    return {
        "workspace_id": batches[0].workspace_id,
        "batches": msgspec.json.encode([batch.summary for batch in batches]).decode(),
        "rows": (b"[" + b",".join(rows) + b"]").decode(),
        "payloads": b"".join(payloads),
        "digests": [digest for digest, _, _ in bodies],
        "bodies": [body for _, body, _ in bodies],
        "owners": [place for _, _, place in bodies],
    }
