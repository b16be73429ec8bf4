"""From bytes of a request to rows: pure steps first, then one transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workbench_server.ingest.preparing import Sent, prepared
from workbench_server.limits import DEFAULT

if TYPE_CHECKING:
    from uuid import UUID

    from starlette.datastructures import State

    from workbench.errors import WorkbenchError
    from workbench_server.access import Caller
    from workbench_server.ingest.writing import Receipt

__all__ = ["append"]


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
    sent = Sent(
        workspace_id=workspace_id,
        run_id=run_id,
        data=data,
        lines=lines,
        atomic=atomic,
        limits=DEFAULT if caller is None else caller.limits,
        rules=() if caller is None else caller.rules,
    )
    batch = await prepared(sent)
    if caller is not None:
        state.rates.admit(caller, events=len(batch.checked), bytes=batch.bytes)
    receipt = await state.committer.store(batch)
    if receipt.accepted:
        state.hub.announce(workspace_id, run_id)
        state.metrics.stored(str(workspace_id), receipt.accepted, batch.bytes)
    for _, error in receipt.rejected:
        state.metrics.refused(error.code)
    return _answer(receipt)


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
