"""What a workspace took, by day of UTC."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workbench_server.database import transaction
from workbench_server.queries import queries

if TYPE_CHECKING:
    from datetime import date
    from uuid import UUID

    from workbench_server.database import Pool

_SUMS = (
    "events", "bytes", "input_tokens", "output_tokens", "cost_known_usd", "artifacts",
    "artifact_bytes",
)  # fmt: skip

Row = dict[str, Any]


async def usage(
    pool: Pool, workspace_id: UUID, *, first: date, last: date
) -> tuple[list[Row], Row]:
    """Return a row for each day on which anything came, and their total."""
    span = {"workspace_id": workspace_id, "first": first, "last": last}
    sql = queries("usage")
    async with transaction(pool, workspace_id) as connection:
        days = await (await connection.execute(sql["days"], span)).fetchall()
        runs = await (await connection.execute(sql["runs"], span)).fetchone()
    return days, (runs or {}) | {name: sum(day[name] for day in days) for name in _SUMS}
