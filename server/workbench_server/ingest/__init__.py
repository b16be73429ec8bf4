"""From bytes of a request to rows: three pure steps and one transaction."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from workbench_server.ingest.batch import parse_batch
from workbench_server.ingest.checking import check_bodies, check_events
from workbench_server.ingest.writing import Prepared, Receipt, store

if TYPE_CHECKING:
    from uuid import UUID

    from workbench.errors import WorkbenchError
    from workbench_server.database import Pool

__all__ = ["append", "prepare"]

_LARGE = 2**19


async def append(
    pool: Pool, workspace_id: UUID, *, run_id: UUID, data: bytes, lines: bool, atomic: bool | None
) -> dict[str, Any]:
    """Store a batch, and say what became of it."""
    work = partial(prepare, workspace_id, run_id=run_id, data=data, lines=lines, atomic=atomic)
    # A large batch must not hold up everybody else's small ones.
    prepared = work() if len(data) < _LARGE else await asyncio.to_thread(work)
    return _answer(await store(pool, prepared))


def prepare(
    workspace_id: UUID, *, run_id: UUID, data: bytes, lines: bool, atomic: bool | None
) -> Prepared:
    """Do all that needs no database."""
    batch = parse_batch(data, lines=lines)
    checked, unsound = check_events(batch.events)
    return Prepared(
        workspace_id=workspace_id,
        run_id=run_id,
        atomic=batch.atomic if atomic is None else atomic,
        checked=checked,
        unsound=unsound,
        bodies=check_bodies(batch.bodies),
    )


def _answer(receipt: Receipt) -> dict[str, Any]:
    return {
        "accepted": receipt.accepted,
        "duplicates": receipt.duplicates,
        "first_seq": receipt.first_seq,
        "last_seq": receipt.last_seq,
        "rejected": [_rejection(index, error) for index, error in receipt.rejected],
    }


def _rejection(index: int, error: WorkbenchError) -> dict[str, Any]:
    return {"index": index} | error.as_problem()
