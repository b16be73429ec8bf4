"""The lake: ask for a snapshot now, and where its tables stand."""

from uuid import uuid4

from fastapi import APIRouter, Request, Response

from workbench_server.access import Reader, Writer
from workbench_server.database import transaction
from workbench_server.queries import queries
from workbench_server.routes.answers import answer

router = APIRouter(tags=["snapshots"])


@router.post("/snapshots", status_code=202)
async def ask(request: Request, caller: Writer) -> Response:
    """Ask the worker to bring the lake up to date now."""
    facts = {"workspace_id": caller.workspace_id, "job_key": f"snapshot:{uuid4()}"}
    async with transaction(request.app.state.pool, caller.workspace_id) as connection:
        rows = await connection.execute(queries("reading")["request_snapshot"], facts)
        row = await rows.fetchone()
    return answer(row, status=202)


@router.get("/snapshots")
async def look(request: Request, caller: Reader) -> Response:
    """Say where the tables stand, and how many ended runs they lack."""
    key = {"workspace_id": caller.workspace_id}
    sql = queries("reading")
    async with transaction(request.app.state.pool, caller.workspace_id) as connection:
        tables = await (await connection.execute(sql["snapshots"], key)).fetchall()
        pending = await (await connection.execute(sql["snapshots_pending"], key)).fetchone()
    hint = {} if request.app.state.storage.is_folder else {"scheme": "s3"}
    return answer(
        {
            "tables": {
                row.pop("table_name"): row | {"storage_options_hint": hint} for row in tables
            },
            "pending": 0 if pending is None else pending["pending"],
        }
    )
