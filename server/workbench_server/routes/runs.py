"""Make, list, look up and change runs."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from workbench_server.access import Reader, Writer
from workbench_server.limits import read_body
from workbench_server.routes.answers import answer
from workbench_server.runs import (
    MOST_LISTED,
    Filter,
    create_run,
    get_run,
    list_runs,
    parse_header,
    parse_patch,
    patch_run,
    run_uuid,
)

router = APIRouter(tags=["runs"])


@router.post("/runs", status_code=201)
async def create(request: Request, caller: Writer) -> Response:
    """Make a run of a header; the same header again finds the same run."""
    header = parse_header(await read_body(request))
    run_id, created = await create_run(request.app.state.pool, caller.workspace_id, header=header)
    facts = {
        "run_id": run_id,
        "created": created,
        "redaction": {"rules": [], "key_version": 0},
    }
    return answer(facts, status=201 if created else 200)


@router.get("/runs")
async def listing(
    request: Request,
    caller: Reader,
    *,
    limit: Annotated[int, Query(ge=1, le=MOST_LISTED)] = 200,
    cursor: str | None = None,
    source: str | None = None,
    status: str | None = None,
    name: str | None = None,
    agent: str | None = None,
    session: str | None = None,
    label: Annotated[list[str] | None, Query()] = None,
) -> Response:
    """List runs, newest first, in pages."""
    wanted = Filter(
        source=source, status=status, name=name, agent=agent, session=session, labels=label or []
    )
    rows, next_cursor = await list_runs(
        request.app.state.pool, caller.workspace_id, wanted=wanted, limit=limit, cursor=cursor
    )
    return answer({"runs": rows, "next_cursor": next_cursor})


@router.get("/runs/{run_id}")
async def one(request: Request, caller: Reader, run_id: str) -> Response:
    """Return one run's row."""
    return answer(await get_run(request.app.state.pool, caller.workspace_id, run_id=run_id))


@router.patch("/runs/{run_id}")
async def patch(request: Request, caller: Writer, run_id: str) -> Response:
    """Change a run's name or labels."""
    change = parse_patch(await read_body(request))
    pool, workspace_id = request.app.state.pool, caller.workspace_id
    await patch_run(pool, workspace_id, run_id=run_uuid(run_id), patch=change)
    return answer(await get_run(pool, workspace_id, run_id=run_id))
