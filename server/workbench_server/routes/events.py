"""Append to a run's log, and read it."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from workbench_server.access import Reader, Writer
from workbench_server.ingest import append
from workbench_server.limits import read_body
from workbench_server.reading import arrow, json
from workbench_server.reading.pages import Wanted, check_run
from workbench_server.routes.answers import answer
from workbench_server.runs import run_uuid

router = APIRouter(tags=["events"])

ARROW = "application/vnd.apache.arrow.stream"
_LAST = 2**63 - 1
_NDJSON = "application/x-ndjson"


@router.post("/runs/{run_id}/events")
async def append_events(
    request: Request, caller: Writer, run_id: str, *, atomic: bool | None = None
) -> Response:
    """Store a batch; answered after its commit."""
    lines = request.headers.get("content-type", "").startswith(_NDJSON)
    receipt = await append(
        request.app.state.pool,
        caller.workspace_id,
        run_id=run_uuid(run_id),
        data=await read_body(request),
        lines=lines,
        atomic=atomic,
    )
    return answer(receipt)


@router.get("/runs/{run_id}/events")
async def read_events(
    request: Request,
    caller: Reader,
    run_id: str,
    *,
    after: Annotated[int, Query(ge=0, le=_LAST)] = 0,
    limit: Annotated[int | None, Query(ge=1, le=_LAST)] = None,
    columns: Literal["all", "timeline"] = "all",
) -> Response:
    """Return events in order of seq, as JSON or as an Arrow stream."""
    wanted = Wanted(
        pool=request.app.state.pool,
        workspace_id=caller.workspace_id,
        run_id=run_uuid(run_id),
        limit=limit,
        narrow=columns == "timeline",
    )
    await check_run(wanted)
    if _wants_arrow(request):
        return StreamingResponse(arrow.events(wanted, after=after), media_type=ARROW)
    return StreamingResponse(json.events(wanted, after=after), media_type="application/json")


@router.get("/runs/{run_id}/bodies")
async def read_bodies(request: Request, caller: Reader, run_id: str) -> Response:
    """Return the messages that the run refers to."""
    wanted = Wanted(
        pool=request.app.state.pool, workspace_id=caller.workspace_id, run_id=run_uuid(run_id)
    )
    await check_run(wanted)
    if _wants_arrow(request):
        return StreamingResponse(arrow.bodies(wanted), media_type=ARROW)
    return StreamingResponse(json.bodies(wanted), media_type="application/json")


def _wants_arrow(request: Request) -> bool:
    return ARROW in request.headers.get("accept", "")
