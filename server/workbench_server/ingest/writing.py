"""The transaction that stores a batch: all of it or, where the caller chose so, what is valid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import psycopg

from workbench.errors import InvalidEvent, WorkbenchError
from workbench_server.database import transaction
from workbench_server.entities import artifacts_of
from workbench_server.ingest.admission import (
    Admission,
    Log,
    Writer,
    admit,
    known_already,
    refusal,
)
from workbench_server.ingest.rows import rows_of
from workbench_server.ingest.tally import tally
from workbench_server.queries import queries
from workbench_server.runs import run_not_found

if TYPE_CHECKING:
    from uuid import UUID

    from workbench_server.database import Connection, Pool
    from workbench_server.ingest.checking import Checked
    from workbench_server.ingest.plain import Summary


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A batch whose parts are sound by themselves; what is left to check needs the run.

    ``bytes`` is the size of its events and bodies as they came; ``summary`` what a plain batch
    says of itself, by which it can be stored without a look at the log.
    """

    workspace_id: UUID
    run_id: UUID
    atomic: bool
    checked: list[Checked]
    unsound: list[tuple[int, WorkbenchError]]
    bodies: dict[str, bytes]
    bytes: int
    summary: Summary | None

    @property
    def place(self) -> tuple[UUID, UUID]:
        return self.workspace_id, self.run_id

    @property
    def key(self) -> dict[str, Any]:
        return {"workspace_id": self.workspace_id, "run_id": self.run_id}


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What was stored of a batch."""

    accepted: int
    duplicates: int
    first_seq: int | None
    last_seq: int | None
    rejected: list[tuple[int, WorkbenchError]]


def all_of(batch: Prepared, *, first_seq: int) -> Receipt:
    """Return the receipt of a batch that was stored whole."""
    count = len(batch.checked)
    return Receipt(
        accepted=count,
        duplicates=0,
        first_seq=first_seq,
        last_seq=first_seq + count - 1,
        rejected=[],
    )


async def store(pool: Pool, batch: Prepared) -> Receipt:
    """Store a batch in a transaction of its own."""
    if batch.atomic and batch.unsound:
        raise batch.unsound[0][1]
    try:
        async with transaction(pool, batch.workspace_id) as connection:
            return await store_within(connection, batch)
    except psycopg.DataError as error:
        raise InvalidEvent(
            "a value does not fit its column", found=str(error).partition("\n")[0]
        ) from error


async def store_within(connection: Connection, batch: Prepared) -> Receipt:
    """Store a batch in a transaction that is open already, so that several can share one."""
    run, log = await _look(connection, batch)
    admission = admit(batch.checked, log)
    rejected = sorted(batch.unsound + admission.rejected, key=lambda pair: pair[0])
    if batch.atomic and rejected:
        raise refusal(admission, rejected[0][1])
    if admission.accepted:
        await _write(connection, batch, run=run, log=log, admission=admission)
    elif admission.duplicates:
        # A writer that was never answered is back all the same.
        await connection.execute(queries("runs")["hear"], batch.key)
    first = run["next_seq"] if admission.accepted else None
    return Receipt(
        accepted=len(admission.accepted),
        duplicates=admission.duplicates,
        first_seq=first,
        last_seq=None if first is None else first + len(admission.accepted) - 1,
        rejected=rejected,
    )


async def _look(connection: Connection, batch: Prepared) -> tuple[dict[str, Any], Log]:
    """Lock the run and learn what the batch has to be held against, in one round trip."""
    sql = queries("ingest")
    refers = {digest for one in batch.checked for digest in one.refers}
    missing_rows = None
    async with connection.pipeline():
        locked = await connection.execute(sql["lock_run"], batch.key)
        writers_rows = await connection.execute(sql["writers"], batch.key)
        if batch.bodies:
            await connection.execute(sql["insert_bodies"], _bodies_of(batch))
        if refers or batch.bodies:
            digests = [bytes.fromhex(digest) for digest in refers | batch.bodies.keys()]
            missing_rows = await connection.execute(
                sql["link_bodies"], batch.key | {"digests": digests}
            )
        run = await locked.fetchone()
        writers = {
            row["writer"]: Writer(last=row["last_seq"], final=row["final_seq"])
            for row in await writers_rows.fetchall()
        }
        missing = [] if missing_rows is None else await missing_rows.fetchall()
    if run is None:
        raise await run_not_found(connection, batch.workspace_id, run_id=str(batch.run_id))
    return run, Log(
        closed=run["closed"],
        writers=writers,
        digests=await _digests_of_known(connection, batch, writers),
        missing=frozenset(row["digest"] for row in missing),
    )


def _bodies_of(batch: Prepared) -> dict[str, Any]:
    return {
        **batch.key,
        "digests": [bytes.fromhex(digest) for digest in batch.bodies],
        "bodies": list(batch.bodies.values()),
    }


async def _digests_of_known(
    connection: Connection, batch: Prepared, writers: dict[str, Writer]
) -> dict[tuple[str, int], str]:
    keys = known_already(batch.checked, writers)
    if not keys:
        return {}
    wanted = msgspec.json.encode([{"writer": w, "writer_seq": n} for w, n in keys]).decode()
    rows = await connection.execute(
        queries("ingest")["known_digests"], batch.key | {"keys": wanted}
    )
    return {(row["writer"], row["writer_seq"]): row["digest"] async for row in rows}


async def _write(
    connection: Connection,
    batch: Prepared,
    *,
    run: dict[str, Any],
    log: Log,
    admission: Admission,
) -> None:
    sql = queries("ingest")
    accepted = admission.accepted
    sums = msgspec.structs.asdict(tally(accepted))
    if run["cost_local"]:
        sums["unknown_cost_parts"] = sums["unknown_cost_parts_local"]
    behind = any(w.final is not None and w.last < w.final for w in log.writers.values())
    after = {"closed": log.closed, "health": "gap" if behind else "ok"}
    new = {
        "first_seq": run["next_seq"],
        "rows": (b"[" + rows_of(accepted, place=1) + b"]").decode(),
        "payloads": b"".join(one.payload for one in accepted),
        "bytes": batch.bytes if len(accepted) == len(batch.checked) else sum(map(_size, accepted)),
    }
    async with connection.pipeline():
        await connection.execute(sql["insert_events"], batch.key | new)
        await connection.execute(
            sql["move_writers"], batch.key | {"writers": _writers_of(admission, log)}
        )
        await connection.execute(sql["move_run"], batch.key | sums | after)
        await connection.execute(sql["add_usage"], batch.key | sums | new)
        if (made := artifacts_of(accepted, first_seq=run["next_seq"])) is not None:
            artifacts = batch.key | {"artifacts": made}
            await connection.execute(queries("artifacts")["insert"], artifacts)


def _size(one: Checked) -> int:
    return one.size


def _writers_of(admission: Admission, log: Log) -> str:
    closing = any(one.event.event_type == "run_ended" for one in admission.accepted)
    touched = {one.event.writer for one in admission.accepted}
    moved = [
        {"writer": name, "last": writer.last, "final": writer.final}
        for name, writer in log.writers.items()
        if name in touched or (closing and writer.final is not None)
    ]
    return msgspec.json.encode(moved).decode()
