"""Store several runs with one request."""

from fastapi import APIRouter, Request, Response

from workbench_server.access import Writer
from workbench_server.ingest.several import store_runs
from workbench_server.limits import read_body
from workbench_server.routes.answers import answer

router = APIRouter(tags=["events"])


@router.post("/batches")
async def store_batches(request: Request, caller: Writer) -> Response:
    """Store runs with their events, each of them whole or not at all; answered after the commit.

    The answer says in the order of the request what became of each run.
    """
    request.app.state.rates.check(caller)
    runs = await store_runs(request.app.state, caller, data=await read_body(request))
    return answer({"runs": runs})
