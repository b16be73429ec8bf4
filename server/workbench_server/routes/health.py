"""Say what is there and what it reaches."""

from typing import Any

from fastapi import APIRouter, Request, Response

import workbench
from workbench.errors import Unavailable
from workbench_server.access import authenticated, key_of
from workbench_server.database import connected
from workbench_server.queries import queries
from workbench_server.routes.answers import answer
from workbench_server.storage import is_reachable

router = APIRouter(tags=["health"])


@router.get("/health")
async def health(request: Request) -> Response:
    """Say what is reachable; with a key, also whose workspace it is."""
    database = await _database_answers(request)
    storage = await is_reachable(request.app.state.storage)
    facts: dict[str, Any] = {
        "status": "ok" if database and storage else "degraded",
        "version": workbench.__version__,
        "database": "ok" if database else "unreachable",
        "storage": "ok" if storage else "unreachable",
    }
    if database and key_of(request) is not None:
        caller = await authenticated(request)
        facts["workspace"] = {"id": caller.workspace_id, "name": caller.name}
    return answer(facts)


async def _database_answers(request: Request) -> bool:
    try:
        async with connected(request.app.state.pool) as connection:
            await connection.execute(queries("access")["alive"])
    except Unavailable:
        return False
    return True
