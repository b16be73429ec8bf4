"""Sessions: listed, and one by its name."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from workbench_server.access import Reader
from workbench_server.listing import MOST_LISTED
from workbench_server.ordering import Page
from workbench_server.routes.answers import answer
from workbench_server.sessions import get_session, list_sessions

router = APIRouter(tags=["sessions"])


@router.get("/sessions")
async def listing(
    request: Request,
    caller: Reader,
    *,
    session: str | None = None,
    limit: Annotated[int, Query(ge=1, le=MOST_LISTED)] = 200,
    sort: str | None = None,
    cursor: str | None = None,
) -> Response:
    """List sessions with what their runs come to, the last active first, in pages."""
    page = Page(limit=limit, sort=sort, cursor=cursor)
    pool = request.app.state.pool
    return answer(await list_sessions(pool, caller.workspace_id, session=session, page=page))


@router.get("/sessions/{session:path}")
async def one(request: Request, caller: Reader, session: str) -> Response:
    """Return one session; its name may hold slashes."""
    pool = request.app.state.pool
    return answer(await get_session(pool, caller.workspace_id, session=session))
