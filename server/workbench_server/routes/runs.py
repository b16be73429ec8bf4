"""Make, list, look up and change runs."""

from typing import Annotated

import msgspec
from fastapi import APIRouter, Depends, Query, Request, Response

from workbench_server.access import Reader, Writer
from workbench_server.ending import end_run, hear, parse_cancelling, parse_ending
from workbench_server.limits import read_body
from workbench_server.listing import MOST_LISTED, Filter, list_runs
from workbench_server.manifests import manifest_of
from workbench_server.ordering import Page
from workbench_server.redacting import check_header, check_patch, check_said
from workbench_server.routes.answers import answer
from workbench_server.runs import (
    create_run,
    get_run,
    parse_header,
    parse_patch,
    patch_run,
    run_uuid,
)

Limit = Annotated[int, Query(ge=1, le=MOST_LISTED)]

router = APIRouter(tags=["runs"])


@router.post("/runs", status_code=201)
async def create(request: Request, caller: Writer) -> Response:
    """Make a run of a header; the same header again finds the same run."""
    header = parse_header(await read_body(request))
    check_header(header, caller.rules)
    run_id, created = await create_run(request.app.state.pool, caller.workspace_id, header=header)
    facts = {
        "run_id": run_id,
        "created": created,
        "redaction": {"rules": caller.rules, "key_version": caller.key_version},
    }
    return answer(facts, status=201 if created else 200)


@router.get("/runs")
async def listing(
    request: Request,
    caller: Reader,
    wanted: Annotated[Filter, Depends()],
    *,
    limit: Limit = 200,
    cursor: str | None = None,
    sort: str | None = None,
) -> Response:
    """List runs, newest first or as `sort` says, in pages."""
    page = Page(limit=limit, sort=sort, cursor=cursor)
    pool = request.app.state.pool
    return answer(await list_runs(pool, caller.workspace_id, wanted=wanted, page=page))


@router.get("/runs/{run_id}")
async def one(request: Request, caller: Reader, run_id: str) -> Response:
    """Return one run's row."""
    return answer(await get_run(request.app.state.pool, caller.workspace_id, run_id=run_id))


@router.get("/runs/{run_id}/forks")
async def forks(
    request: Request,
    caller: Reader,
    run_id: str,
    *,
    limit: Limit = 200,
    cursor: str | None = None,
) -> Response:
    """List the runs that were forked or replayed from this one, newest first."""
    pool, workspace_id = request.app.state.pool, caller.workspace_id
    row = await get_run(pool, workspace_id, run_id=run_id)
    wanted = Filter(parent_run_id=str(row["run_id"]))
    page = Page(limit=limit, cursor=cursor)
    return answer(await list_runs(pool, workspace_id, wanted=wanted, page=page))


@router.get("/runs/{run_id}/manifest")
async def manifest(request: Request, caller: Reader, run_id: str) -> Response:
    """Return what the run consists of: artifacts, counts, writers and hashes."""
    pool, wanted = request.app.state.pool, run_uuid(run_id)
    return answer(await manifest_of(pool, caller.workspace_id, run_id=wanted))


@router.patch("/runs/{run_id}")
async def patch(request: Request, caller: Writer, run_id: str) -> Response:
    """Change a run's name or labels."""
    change = parse_patch(await read_body(request))
    check_patch(change, caller.rules)
    pool, workspace_id = request.app.state.pool, caller.workspace_id
    await patch_run(pool, workspace_id, run_id=run_uuid(run_id), patch=change)
    return answer(await get_run(pool, workspace_id, run_id=run_id))


@router.post("/runs/{run_id}/end")
async def end(request: Request, caller: Writer, run_id: str) -> Response:
    """End a run whose writers do not; one that ended so already is left as it is."""
    ending = parse_ending(await read_body(request))
    check_said(msgspec.to_builtins(ending), caller.rules, where="body")
    wanted = run_uuid(run_id)
    return answer(
        await end_run(request.app.state, caller.workspace_id, run_id=wanted, ending=ending)
    )


@router.post("/runs/{run_id}/cancel")
async def cancel(request: Request, caller: Writer, run_id: str) -> Response:
    """End a run as cancelled; its writers learn of it at their next batch or heartbeat."""
    ending = parse_cancelling(await read_body(request))
    check_said(ending.reason, caller.rules, where="reason")
    wanted = run_uuid(run_id)
    return answer(
        await end_run(request.app.state, caller.workspace_id, run_id=wanted, ending=ending)
    )


@router.post("/runs/{run_id}/heartbeat")
async def heartbeat(request: Request, caller: Writer, run_id: str) -> Response:
    """Note that a writer of the run is alive, and tell it how the run stands."""
    pool, wanted = request.app.state.pool, run_uuid(run_id)
    return answer(await hear(pool, caller.workspace_id, run_id=wanted))
