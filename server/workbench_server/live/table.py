"""What the table says of runs that are followed; no connection is kept between two questions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workbench.schema import ENDED_STATUSES
from workbench_server.database import Pool, transaction
from workbench_server.queries import queries
from workbench_server.runs import run_not_found

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID

    Rows = list[dict[str, Any]]

PAGE_EVENTS = 500
PAGE_BYTES = 2**18


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """How far a run is."""

    last_seq: int
    status: str
    health: str
    closed: bool

    @property
    def is_over(self) -> bool:
        """Ended, and no announced writer is awaited any more."""
        return self.closed and self.status in ENDED_STATUSES and self.health != "gap"


async def state_of(pool: Pool, workspace_id: UUID, *, run_id: UUID) -> State:
    """Return how far a run is, or refuse an unknown one."""
    key = {"workspace_id": workspace_id, "run_id": run_id}
    async with transaction(pool, workspace_id) as connection:
        rows = await connection.execute(queries("live")["state"], key, binary=True)
        row = await rows.fetchone()
        if row is None:
            raise await run_not_found(connection, workspace_id, run_id=str(run_id))
    return State(**row)


async def look(
    pool: Pool, workspace_id: UUID, *, run_id: UUID, after: int
) -> tuple[State | None, Rows]:
    """Return a run's state and its next events; no state where there is no such run."""
    sql = queries("live")
    key = {"workspace_id": workspace_id, "run_id": run_id}
    limits = {"after": after, "limit": PAGE_EVENTS, "bytes": PAGE_BYTES}
    async with transaction(pool, workspace_id) as connection, connection.pipeline():
        states = await connection.execute(sql["state"], key, binary=True)
        page = await connection.execute(sql["page"], key | limits, binary=True)
        row = await states.fetchone()
        rows = await page.fetchall()
    return None if row is None else State(**row), _contiguous(rows, after)


def _contiguous(rows: Rows, after: int) -> Rows:
    """Numbers are given under the run's lock, so there is no hole; one is never passed on."""
    for index, row in enumerate(rows):
        if row["seq"] != after + 1 + index:
            return rows[:index]
    return rows


async def states(pool: Pool, workspace_id: UUID, run_ids: Iterable[UUID]) -> dict[UUID, State]:
    """Return how far each of these runs is; a run that is not there is left out."""
    parameters = {"workspace_id": workspace_id, "run_ids": list(run_ids)}
    async with transaction(pool, workspace_id) as connection:
        rows = await connection.execute(queries("live")["states"], parameters, binary=True)
        return {row.pop("run_id"): State(**row) async for row in rows}
