"""Pages of rows along the primary key, each in a transaction of its own.

A slow reader so holds no connection, and a run of any length needs no more memory than a page.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workbench_server.database import Pool, transaction
from workbench_server.queries import queries
from workbench_server.runs import run_not_found

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from uuid import UUID

_PAGE = {"events": 5_000, "timeline": 20_000, "bodies": 2_000}

Rows = list[dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which run's rows, and how many of them at most."""

    pool: Pool
    workspace_id: UUID
    run_id: UUID
    limit: int | None = None
    narrow: bool = False


async def check_run(wanted: Wanted) -> None:
    """Refuse an unknown run before the answer has begun."""
    key = {"workspace_id": wanted.workspace_id, "run_id": wanted.run_id}
    async with transaction(wanted.pool, wanted.workspace_id) as connection:
        rows = await connection.execute(queries("reading")["exists"], key)
        if await rows.fetchone() is None:
            raise await run_not_found(connection, wanted.workspace_id, run_id=str(wanted.run_id))


async def event_pages(wanted: Wanted, *, after: int) -> AsyncIterator[Rows]:
    """Yield pages of events in order of seq."""
    query, left = "timeline" if wanted.narrow else "events", wanted.limit
    while left is None or left > 0:
        size = _PAGE[query] if left is None else min(left, _PAGE[query])
        rows = await _page(wanted, query, after=after, limit=size)
        if rows:
            yield rows
        if len(rows) < size:
            return
        after = rows[-1]["seq"]
        left = None if left is None else left - len(rows)


async def body_pages(wanted: Wanted) -> AsyncIterator[Rows]:
    """Yield pages of message bodies in order of digest."""
    after = b""
    while rows := await _page(wanted, "bodies", after=after, limit=_PAGE["bodies"]):
        yield rows
        after = bytes.fromhex(rows[-1]["digest"])


async def _page(wanted: Wanted, query: str, *, after: Any, limit: int) -> Rows:
    parameters = {
        "workspace_id": wanted.workspace_id,
        "run_id": wanted.run_id,
        "after": after,
        "limit": limit,
    }
    async with transaction(wanted.pool, wanted.workspace_id) as connection:
        rows = await connection.execute(queries("reading")[query], parameters, binary=True)
        return await rows.fetchall()
