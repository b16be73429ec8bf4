"""Append to a run's log, and read it."""

from fastapi import APIRouter, Request, Response

from workbench_server.access import Writer
from workbench_server.ingest import append
from workbench_server.limits import read_body
from workbench_server.routes import reading
from workbench_server.routes.answers import answer
from workbench_server.routes.direct import Direct
from workbench_server.runs import run_uuid

router = APIRouter(tags=["events"])
router.include_router(reading.router)
_appending = APIRouter(tags=["events"], route_class=Direct)

_NDJSON = "application/x-ndjson"


@_appending.post("/runs/{run_id}/events")
async def append_events(
    request: Request, caller: Writer, run_id: str, *, atomic: bool | None = None
) -> Response:
    """Store a batch; answered after its commit."""
    request.app.state.rates.check(caller)
    lines = request.headers.get("content-type", "").lower().startswith(_NDJSON)
    receipt = await append(
        request.app.state,
        caller.workspace_id,
        run_id=run_uuid(run_id),
        data=await read_body(request),
        lines=lines,
        atomic=atomic,
        caller=caller,
    )
    return answer(receipt)


router.include_router(_appending)
