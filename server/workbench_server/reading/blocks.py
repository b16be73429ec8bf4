"""A run's rows out of the database: a block at a time, each as one text and one string of bytes.

Postgres writes the rows, so this process makes no object per row. Each block has a transaction of
its own: a slow reader holds no connection, and a run of any length needs no more memory than two
blocks.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from workbench_server.database import Pool, transaction
from workbench_server.queries import queries
from workbench_server.runs import run_not_found

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from uuid import UUID

    from workbench_server.database import Connection

_ROWS = {"events": 5_000, "timeline": 25_000, "bodies": 5_000}
_BYTES = 4 * 2**20

Columns = Literal["events", "timeline"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which run's rows: the events with ``after`` < seq < ``before``, of them the first ``limit``.

    Where there is no ``after``, they are the last ones before ``before``.
    """

    pool: Pool
    workspace_id: UUID
    run_id: UUID
    columns: Columns = "events"
    after: int | None = None
    before: int | None = None
    limit: int | None = None

    @property
    def key(self) -> dict[str, Any]:
        return {"workspace_id": self.workspace_id, "run_id": self.run_id}


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Rows as lines of text, their payloads one behind the other, and the last row's key."""

    lines: bytes
    payloads: bytes
    last: Any


async def find_range(wanted: Wanted) -> range:
    """Return the seqs that are wanted and there; an unknown run is refused."""
    async with transaction(wanted.pool, wanted.workspace_id) as connection:
        rows = await connection.execute(queries("reading")["length"], wanted.key)
        row = await rows.fetchone()
        if row is None:
            raise await run_not_found(connection, wanted.workspace_id, run_id=str(wanted.run_id))
    first, end = (wanted.after or 0) + 1, row["length"] + 1
    if wanted.before is not None:
        end = min(end, wanted.before)
    if wanted.limit is not None and wanted.after is None and wanted.before is not None:
        first = max(first, end - wanted.limit)
    elif wanted.limit is not None:
        end = min(end, first + wanted.limit)
    return range(first, end)


async def event_blocks(wanted: Wanted, seqs: range) -> AsyncIterator[Block]:
    """Yield events in order of seq."""
    query, after = wanted.columns, seqs.start - 1

    def following(block: Block | None) -> dict[str, Any] | None:
        last = after if block is None else block.last
        left = seqs.stop - 1 - last
        return {"after": last, "limit": min(left, _ROWS[query])} if left > 0 else None

    async for block in _blocks(wanted, query, following):
        yield block


async def body_blocks(wanted: Wanted) -> AsyncIterator[Block]:
    """Yield message bodies in order of digest."""

    def following(block: Block | None) -> dict[str, Any]:
        last = b"" if block is None else bytes.fromhex(block.last)
        return {"after": last, "limit": _ROWS["bodies"]}

    async for block in _blocks(wanted, "bodies", following):
        yield block


async def _blocks(wanted: Wanted, query: str, following: Any) -> AsyncIterator[Block]:
    """Read the next block while the last one is on its way."""
    place = following(None)
    reading = None if place is None else asyncio.create_task(_block(wanted, query, place))
    try:
        while reading is not None:
            block = await reading
            if block is None:
                return
            place = following(block)
            reading = None if place is None else asyncio.create_task(_block(wanted, query, place))
            yield block
    finally:
        if reading is not None and not reading.done():
            reading.cancel()
            await asyncio.wait([reading])


async def _block(wanted: Wanted, query: str, place: dict[str, Any]) -> Block | None:
    parameters = wanted.key | place | {"most_bytes": _BYTES}
    async with transaction(wanted.pool, wanted.workspace_id) as connection:
        return await _read(connection, query, parameters)


async def _read(connection: Connection, query: str, parameters: dict[str, Any]) -> Block | None:
    sql = queries("reading")
    await connection.execute(sql["plain_text"])
    rows = await connection.execute(sql[query], parameters, binary=True)
    row = await rows.fetchone()
    if row is None or row["lines"] is None:
        return None
    return Block(**row)
