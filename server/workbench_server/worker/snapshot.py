"""Write ended runs into the lake, in batches; the runs come last and are the commit mark."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import psycopg
import pyarrow as pa
from psycopg.rows import dict_row

from workbench_server.database import unsafe_role
from workbench_server.queries import queries
from workbench_server.worker import lake
from workbench_server.worker.content import Content, read_run

if TYPE_CHECKING:
    from uuid import UUID

MOST_RUNS = 5_000
MOST_EVENTS = 50_000

Connection = psycopg.Connection[dict[str, Any]]
Rows = list[dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """What a job works with."""

    url: str
    lake: lake.Lake

    def connect(self) -> Connection:
        return psycopg.connect(self.url, row_factory=dict_row)


def check_role(url: str) -> None:
    """Refuse a role that row-level security does not bind."""
    with psycopg.connect(url, row_factory=dict_row) as connection:
        role = connection.execute(queries("access")["role"]).fetchone()
    if role is None or role["unsafe"]:
        raise unsafe_role(role)


def run_job(worker: Worker, workspace_id: UUID, *, job_id: UUID) -> int:
    """Bring the lake up to date because somebody asked, and say what came of it."""
    _say(worker, workspace_id, job_id, status="running")
    try:
        runs = snapshot(worker, workspace_id)
    except Exception as error:
        said = {"title": str(error) or type(error).__name__}
        _say(worker, workspace_id, job_id, status="failed", error=said)
        raise
    _say(worker, workspace_id, job_id, status="done", progress={"runs": runs})
    return runs


def _say(
    worker: Worker,
    workspace_id: UUID,
    job_id: UUID,
    *,
    status: str,
    progress: dict[str, Any] | None = None,
    error: dict[str, Any] | None = None,
) -> None:
    facts = {
        "workspace_id": workspace_id,
        "job_id": job_id,
        "status": status,
        "progress": msgspec.json.encode(progress or {}).decode(),
        "error": None if error is None else msgspec.json.encode(error).decode(),
    }
    with worker.connect() as connection:
        _enter(connection, workspace_id)
        connection.execute(queries("worker")["job_status"], facts)


def snapshot(worker: Worker, workspace_id: UUID) -> int:
    """Write all runs that are due; return how many."""
    written = 0
    with worker.connect() as connection:
        while claimed := _claim(connection, workspace_id):
            _write(worker, connection, workspace_id, claimed)
            written += len(claimed)
            if not _settle(worker, connection, workspace_id, claimed):
                break  # every one of them changed meanwhile; the next look finds them again
    return written


def _enter(connection: Connection, workspace_id: UUID) -> None:
    connection.execute(queries("access")["enter"], {"workspace_id": str(workspace_id)})


def _claim(connection: Connection, workspace_id: UUID) -> Rows:
    limits = {"most_runs": MOST_RUNS, "most_events": MOST_EVENTS}
    with connection.transaction():
        _enter(connection, workspace_id)
        key = {"workspace_id": workspace_id} | limits
        return connection.execute(queries("worker")["claim"], key).fetchall()


def _batch_of(claimed: Rows) -> str:
    named = sorted(f"{row['run_id']}:{row['generation']}" for row in claimed)
    return hashlib.sha256("\n".join(named).encode()).hexdigest()


def _write(worker: Worker, connection: Connection, workspace_id: UUID, claimed: Rows) -> None:
    batch = _batch_of(claimed)
    with connection.transaction():
        _enter(connection, workspace_id)
        parts = Content.of(read_run(connection, workspace_id, run) for run in claimed)
    with connection.transaction():
        _enter(connection, workspace_id)
        counts = msgspec.json.encode(parts.counts).decode()
        key = {"workspace_id": workspace_id, "counts": counts}
        connection.execute(queries("worker")["count_messages"], key)
    tables = {name: worker.lake.table(workspace_id, name) for name in lake.SCHEMAS}
    lake.append(tables["events"], parts.events, batch=batch)
    lake.append(tables["messages"], parts.messages, batch=batch)
    lake.append(tables["runs"], _runs_table(claimed), batch=batch)


def _runs_table(claimed: Rows) -> pa.Table:
    rows = [
        {
            name: str(value) if name in _UUIDS and value is not None else value
            for name, value in row.items()
        }
        for row in claimed
    ]
    return pa.Table.from_pylist(rows, schema=lake.RUNS)


_UUIDS = ("run_id", "parent_run_id", "supersedes", "superseded_by")


def _settle(worker: Worker, connection: Connection, workspace_id: UUID, claimed: Rows) -> int:
    """Publish where the tables stand, and call the runs done; return how many are."""
    sql = queries("worker")
    done = [{"run_id": row["run_id"], "changed_at": row["changed_at"]} for row in claimed]
    with connection.transaction():
        _enter(connection, workspace_id)
        for name in lake.SCHEMAS:
            table = worker.lake.table(workspace_id, name)
            current = table.current_snapshot()
            facts = {
                "workspace_id": workspace_id,
                "table_name": name,
                "metadata_location": table.metadata_location,
                "snapshot_id": 0 if current is None else current.snapshot_id,
            }
            connection.execute(sql["publish"], facts)
        settled = connection.execute(
            sql["settle"],
            {"workspace_id": workspace_id, "runs": msgspec.json.encode(done).decode()},
        )
        return settled.rowcount
