"""A run's rows out of the database: a block at a time, each as a few strings of bytes.

Postgres writes the rows, so this process makes no object per row. Each block has a transaction of
its own: a slow reader holds no connection, and a run of any length needs no more memory than a few
blocks.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from workbench_server.database import Pool, connected
from workbench_server.queries import queries
from workbench_server.runs import run_not_found

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from uuid import UUID

    from workbench_server.database import Connection

    Place = dict[str, Any]

_ROWS = {"events": 1_000, "timeline": 5_000, "bodies": 1_000}
_BYTES = 2**20
_AHEAD = 2  # blocks that are read while one is on its way: as many as keep two processors busy

Columns = Literal["events", "timeline"]
Block = dict[str, Any]
"""The columns of one row of a query of ``reading.sql``: bytes, and the last row's key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which run's rows: the events with ``after`` < seq < ``before``, of them the first ``limit``.

    Where there is no ``after``, they are the last ones before ``before``. ``failed`` keeps, of all
    these, the ones that end a step that failed or was cancelled.
    """

    pool: Pool
    workspace_id: UUID
    run_id: UUID
    columns: Columns = "events"
    after: int | None = None
    before: int | None = None
    limit: int | None = None
    failed: bool = False

    @property
    def key(self) -> dict[str, Any]:
        return {"workspace_id": self.workspace_id, "run_id": self.run_id}

    def seqs(self, length: int) -> range:
        """Return which seqs of a run of so many events are meant."""
        first, end = (self.after or 0) + 1, length + 1
        if self.before is not None:
            end = min(end, self.before)
        if self.limit is not None and self.after is None and self.before is not None:
            first = max(first, end - self.limit)
        elif self.limit is not None:
            end = min(end, first + self.limit)
        return range(first, max(first, end))


async def event_blocks(wanted: Wanted) -> AsyncIterator[Block]:
    """Return the blocks of events in order of seq; an unknown run is refused at once."""
    async with _reading(wanted) as connection:
        seqs = wanted.seqs(await _length(connection, wanted))
        more = {"before": seqs.stop, "failed": wanted.failed, "rows": _ROWS[wanted.columns]}

        def place(after: int) -> Place | None:
            return more | {"after": after} if after + 1 < seqs.stop else None

        def end(after: int) -> int | None:
            return None if wanted.failed else after + _ROWS[wanted.columns]

        first = await _read(connection, wanted, wanted.columns, place(seqs.start - 1))
    return _blocks(wanted, wanted.columns, first, place, end=end)


async def body_blocks(wanted: Wanted) -> AsyncIterator[Block]:
    """Return the blocks of message bodies in order of digest; an unknown run is refused at once."""

    def place(last: str) -> Place:
        return {"after": bytes.fromhex(last), "rows": _ROWS["bodies"]}

    async with _reading(wanted) as connection:
        await _length(connection, wanted)
        first = await _read(connection, wanted, "bodies", place(""))
    return _blocks(wanted, "bodies", first, place, end=lambda _: None)


async def _blocks(
    wanted: Wanted,
    query: str,
    block: Block | None,
    place: Callable[[Any], Place | None],
    *,
    end: Callable[[Any], Any],
) -> AsyncIterator[Block]:
    """Yield blocks; the next ones are read while one is on its way.

    ``end`` says after which key a block is expected to end, or null; the one behind a block that
    ends elsewhere is read anew.
    """
    ahead: deque[_Ahead] = deque()
    try:
        while block is not None:
            if ahead and ahead[0].after != block["last"]:
                await _forget(ahead)
            after = end(ahead[-1].after) if ahead else block["last"]
            while len(ahead) < _AHEAD and after is not None and (at := place(after)) is not None:
                ahead.append(_Ahead(after, asyncio.create_task(_next(wanted, query, at))))
                after = end(after)
            yield block
            block = await ahead.popleft().block if ahead else None
    finally:
        await _forget(ahead)


@dataclass(frozen=True, slots=True)
class _Ahead:
    """A block that is being read, and the key it begins after."""

    after: Any
    block: asyncio.Task[Block | None]


async def _forget(ahead: deque[_Ahead]) -> None:
    reading = [one.block for one in ahead]
    ahead.clear()
    for task in reading:
        task.cancel()
    await asyncio.gather(*reading, return_exceptions=True)


async def _next(wanted: Wanted, query: str, place: Place) -> Block | None:
    async with _reading(wanted) as connection:
        return await _read(connection, wanted, query, place)


@asynccontextmanager
async def _reading(wanted: Wanted) -> AsyncIterator[Connection]:
    """Open a transaction that sees one workspace; all it says travels together."""
    async with (
        connected(wanted.pool) as connection,
        connection.pipeline(),
        connection.transaction(),
    ):
        enter = {"workspace_id": str(wanted.workspace_id)}
        await connection.execute(queries("reading")["enter"], enter)
        yield connection


async def _length(connection: Connection, wanted: Wanted) -> int:
    rows = await connection.execute(queries("reading")["length"], wanted.key)
    row = await rows.fetchone()
    if row is None:
        raise await run_not_found(connection, wanted.workspace_id, run_id=str(wanted.run_id))
    return int(row["length"])


async def _read(
    connection: Connection, wanted: Wanted, query: str, place: Place | None
) -> Block | None:
    if place is None:
        return None
    rows = await connection.execute(
        queries("reading")[query], wanted.key | place | {"bytes": _BYTES}, binary=True
    )
    row = await rows.fetchone()
    return None if row is None or row["lines"] is None else row
