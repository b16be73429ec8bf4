"""From bytes of a request to rows: three pure steps and one transaction."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from workbench_server.ingest.batch import parse_batch
from workbench_server.ingest.checking import check_bodies, check_events
from workbench_server.ingest.plain import summary_of
from workbench_server.ingest.writing import Prepared, Receipt
from workbench_server.limits import DEFAULT

if TYPE_CHECKING:
    from uuid import UUID

    from starlette.datastructures import State

    from workbench.errors import WorkbenchError
    from workbench_server.access import Caller
    from workbench_server.limits import Limits

__all__ = ["append", "prepare"]

_LARGE = 2**19


async def append(
    state: State,
    workspace_id: UUID,
    *,
    run_id: UUID,
    data: bytes,
    lines: bool = False,
    atomic: bool | None = None,
    caller: Caller | None = None,
) -> dict[str, Any]:
    """Store a batch, and say what became of it.

    ``state`` is the app's. ``caller`` is held to its limits; the server itself has none.
    """
    limits = DEFAULT if caller is None else caller.limits
    work = partial(
        prepare, workspace_id, run_id=run_id, data=data, lines=lines, atomic=atomic, limits=limits
    )
    # A large batch must not hold up everybody else's small ones.
    prepared = work() if len(data) < _LARGE else await asyncio.to_thread(work)
    if caller is not None:
        state.rates.admit(caller, events=len(prepared.checked), bytes=prepared.bytes)
    receipt = await state.committer.store(prepared)
    if receipt.accepted:
        state.hub.announce(workspace_id, run_id)
        state.metrics.stored(str(workspace_id), receipt.accepted, prepared.bytes)
    for _, error in receipt.rejected:
        state.metrics.refused(error.code)
    return _answer(receipt)


def prepare(
    workspace_id: UUID,
    *,
    run_id: UUID,
    data: bytes,
    lines: bool = False,
    atomic: bool | None = None,
    limits: Limits = DEFAULT,
) -> Prepared:
    """Do all that needs no database."""
    batch = parse_batch(data, lines=lines, most=limits.batch_events)
    checked, unsound = check_events(batch.events, nesting=limits.nesting)
    bodies = check_bodies(batch.bodies, nesting=limits.nesting)
    size = sum(one.size for one in checked) + sum(len(bytes(b)) for b in batch.bodies.values())
    plain = None if unsound else summary_of(checked, run_id=run_id, bodies=bodies, size=size)
    return Prepared(
        workspace_id=workspace_id,
        run_id=run_id,
        atomic=batch.atomic if atomic is None else atomic,
        checked=checked,
        unsound=unsound,
        bodies=bodies,
        bytes=size,
        summary=plain,
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
