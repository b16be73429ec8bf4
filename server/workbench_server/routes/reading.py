"""Read a run's events and messages, as JSON or as an Arrow stream."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from workbench_server.access import Reader
from workbench_server.reading import arrow, json
from workbench_server.reading.blocks import Wanted, body_blocks, event_blocks
from workbench_server.reading.columns import BODIES, EVENTS, TIMELINE
from workbench_server.runs import run_uuid

router = APIRouter()

ARROW = "application/vnd.apache.arrow.stream"
_LAST = 2**63 - 1

Seq = Annotated[int | None, Query(ge=0, le=_LAST)]


@router.get("/runs/{run_id}/events")
async def read_events(
    request: Request,
    caller: Reader,
    run_id: str,
    *,
    after: Seq = None,
    before: Seq = None,
    limit: Annotated[int | None, Query(ge=1, le=_LAST)] = None,
    columns: Literal["all", "timeline"] = "all",
    failed: bool = False,
    compression: arrow.Compression = "none",
) -> Response:
    """Return events in order of seq: those between `after` and `before`, neither included.

    `limit` keeps the first of them, or the last where only `before` is given; `failed`, of all
    these, what ends a step that failed or was cancelled. `compression` is that of the buffers of
    an Arrow stream.
    """
    wanted = Wanted(
        pool=request.app.state.pool,
        workspace_id=caller.workspace_id,
        run_id=run_uuid(run_id),
        columns="timeline" if columns == "timeline" else "events",
        after=after,
        before=before,
        limit=limit,
        failed=failed,
    )
    blocks = await event_blocks(wanted)
    schema = TIMELINE if columns == "timeline" else EVENTS
    if _wants_arrow(request):
        stream = arrow.stream(blocks, schema, compression=compression)
        return StreamingResponse(stream, media_type=ARROW)
    return StreamingResponse(json.events(blocks, schema), media_type="application/json")


@router.get("/runs/{run_id}/bodies")
async def read_bodies(
    request: Request, caller: Reader, run_id: str, *, compression: arrow.Compression = "none"
) -> Response:
    """Return the messages that the run refers to."""
    wanted = Wanted(
        pool=request.app.state.pool, workspace_id=caller.workspace_id, run_id=run_uuid(run_id)
    )
    blocks = await body_blocks(wanted)
    if _wants_arrow(request):
        stream = arrow.stream(blocks, BODIES, compression=compression)
        return StreamingResponse(stream, media_type=ARROW)
    return StreamingResponse(json.bodies(blocks), media_type="application/json")


def _wants_arrow(request: Request) -> bool:
    return ARROW in request.headers.get("accept", "")
