"""A run ended by somebody else than its writers, and the word that its writers are alive.

The end is an event like any other, by the writer `server`: so it is in the log, in its digest, and
every rule of closing holds by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType

from workbench.errors import Conflict, InvalidEvent, RunClosed, SequenceError
from workbench.hashing import dumps
from workbench.schema import Event, now
from workbench_server.database import transaction
from workbench_server.ingest import append
from workbench_server.limits import check_text
from workbench_server.queries import queries
from workbench_server.runs import get_run, parse_form, run_not_found

if TYPE_CHECKING:
    from uuid import UUID

    from starlette.datastructures import State

    from workbench_server.database import Pool

WRITER = "server"
_TRIES = 8
_MOST_BYTES = 10_000
_encoder = msgspec.json.Encoder()


class Ending(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a run ends: ``reason`` is kept as its exception, ``output`` as what its root gave."""

    status: Literal["done", "failed", "cancelled", "diverged"] = "done"
    reason: str | None = None
    output: Any | UnsetType = UNSET


class Cancelling(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why a run is cancelled."""

    reason: str | None = None


def parse_ending(data: bytes) -> Ending:
    """Read how a run is to end; nothing said means: done."""
    return parse_form(data or b"{}", Ending, "the end of the run is malformed")


def parse_cancelling(data: bytes) -> Ending:
    """Read why a run is to be cancelled."""
    said = parse_form(data or b"{}", Cancelling, "the request to cancel is malformed")
    return Ending(status="cancelled", reason=said.reason)


async def end_run(
    state: State, workspace_id: UUID, *, run_id: UUID, ending: Ending
) -> dict[str, Any]:
    """End the run, or find that it has ended so; return its row."""
    if ending.reason is not None:
        check_text(ending.reason, where="reason", most=_MOST_BYTES)
    for attempt in range(_TRIES):
        closed, writers = await _standing(state.pool, workspace_id, run_id=run_id)
        if closed:
            break
        # Busy writers move on between the look and the end. Not naming them ends the run wherever
        # they are then.
        named = writers if attempt < _TRIES - 2 else {WRITER: writers.get(WRITER, 0)}
        batch = _batch(ending, named)
        try:
            await append(state, workspace_id, run_id=run_id, data=batch, lines=False, atomic=True)
        except (SequenceError, InvalidEvent) as error:
            if attempt == _TRIES - 1 and not isinstance(error, RunClosed):
                raise
    return _settled(await get_run(state.pool, workspace_id, run_id=str(run_id)), ending)


def _settled(row: dict[str, Any], ending: Ending) -> dict[str, Any]:
    if row["status"] != ending.status:
        raise Conflict(
            "the run has ended with another status",
            where=f"run {row['run_id']}",
            expected=ending.status,
            found=row["status"],
            run_id=str(row["run_id"]),
        )
    return row


async def _standing(pool: Pool, workspace_id: UUID, *, run_id: UUID) -> tuple[bool, dict[str, int]]:
    """Return whether the run is closed, and how far each writer has delivered."""
    key = {"workspace_id": workspace_id, "run_id": run_id}
    async with transaction(pool, workspace_id) as connection:
        rows = await (await connection.execute(queries("runs")["standing"], key)).fetchall()
        if not rows:
            raise await run_not_found(connection, workspace_id, run_id=str(run_id))
    delivered = {row["writer"]: row["last_seq"] for row in rows if row["writer"] is not None}
    return rows[0]["closed"], delivered


def _batch(ending: Ending, delivered: dict[str, int]) -> bytes:
    number = delivered.get(WRITER, 0) + 1
    body: dict[str, Any] = {"writers": delivered | {WRITER: number}}
    if ending.output is not UNSET:
        body["output"] = ending.output
    if ending.reason is not None:
        said = {"class": "workbench.errors:RunClosed", "message": ending.reason, "args": []}
        body["exception"] = said
    try:
        payload = msgspec.Raw(dumps(body))
    except TypeError as error:
        raise InvalidEvent("the output has no canonical form", found=str(error)) from error
    event = Event(
        event_type="run_ended",
        writer=WRITER,
        writer_seq=number,
        started_at=now(),
        status=ending.status,
        lane="root",
        payload=payload,
    )
    return b'{"events":[%b]}' % _encoder.encode(event)


async def hear(pool: Pool, workspace_id: UUID, *, run_id: UUID) -> dict[str, Any]:
    """Note that a writer of the run is alive, and tell it how the run stands."""
    key = {"workspace_id": workspace_id, "run_id": run_id}
    async with transaction(pool, workspace_id) as connection:
        rows = await connection.execute(queries("runs")["hear"], key)
        row = await rows.fetchone()
        if row is None:
            rows = await connection.execute(queries("runs")["ended_as"], key)
            row = await rows.fetchone()
        if row is None:
            raise await run_not_found(connection, workspace_id, run_id=str(run_id))
    return row | {"cancelled": row["closed"] and row["status"] == "cancelled"}
