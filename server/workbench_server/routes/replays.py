"""Replays by the worker: asked for, looked at, listed, cancelled."""

from typing import Annotated

import msgspec
from fastapi import APIRouter, Query, Request, Response

from workbench_server.access import Reader, Writer
from workbench_server.listing import MOST_LISTED
from workbench_server.ordering import Page
from workbench_server.redacting import check_said
from workbench_server.replays import (
    Asking,
    Wanted,
    ask,
    cancel_replay,
    get_replay,
    list_replays,
)
from workbench_server.routes.answers import answer
from workbench_server.routes.asking import asked

router = APIRouter(tags=["replays"])


@router.post("/replays", status_code=202)
async def create(request: Request, caller: Writer) -> Response:
    """Ask a worker to replay a run; the same key and body find the same replay.

    It is isolated: no call is made outside. What is to be `live`, as `mode`, `on_miss` or an
    override, is refused with 422 unless the operator registered the agent as live (`GET
    /v1/agents`); then the replay is guarded, and calls are made as its own decorators allow.
    """
    wanted = await asked(request, Asking)
    check_said(msgspec.to_builtins(wanted), caller.rules, where="body")
    state = request.app.state
    row, is_new = await ask(state.pool, caller.workspace_id, wanted=wanted, agents=state.agents)
    return answer(row, status=202 if is_new else 200)


@router.get("/replays")
async def listing(
    request: Request,
    caller: Reader,
    *,
    run_id: str | None = None,
    status: Annotated[list[str] | None, Query()] = None,
    limit: Annotated[int, Query(ge=1, le=MOST_LISTED)] = 200,
    cursor: str | None = None,
) -> Response:
    """List replays with their status, progress and result, newest first, in pages."""
    page = Page(limit=limit, cursor=cursor)
    wanted = Wanted(run_id=run_id, status=status)
    pool = request.app.state.pool
    return answer(await list_replays(pool, caller.workspace_id, wanted=wanted, page=page))


@router.get("/replays/{job_id}")
async def one(request: Request, caller: Reader, job_id: str) -> Response:
    """Return one replay: how far it is, and what came of it."""
    return answer(await get_replay(request.app.state.pool, caller.workspace_id, job_id=job_id))


@router.post("/replays/{job_id}/cancel")
async def cancel(request: Request, caller: Writer, job_id: str) -> Response:
    """Ask for the end of a replay: at once where it waits, else within seconds."""
    return answer(await cancel_replay(request.app.state.pool, caller.workspace_id, job_id=job_id))
