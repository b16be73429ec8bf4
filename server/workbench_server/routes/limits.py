"""The limits of a workspace, for its admins."""

import msgspec
from fastapi import APIRouter, Request, Response

from workbench_server.access import Admin
from workbench_server.limits import DEFAULT, RANGES
from workbench_server.routes.answers import answer
from workbench_server.routes.asking import asked
from workbench_server.workspaces import change_limits, in_force, stored_limits

router = APIRouter(tags=["limits"])


@router.get("/limits")
async def look(request: Request, caller: Admin) -> Response:
    """Say what holds, what of it was set, and what could be."""
    return answer(_said(await stored_limits(request.app.state.pool, caller.workspace_id)))


@router.patch("/limits")
async def change(request: Request, caller: Admin) -> Response:
    """Set limits, or give them back to their defaults with null."""
    wanted = await asked(request, dict[str, int | None])
    stored = await change_limits(request.app.state.pool, caller.workspace_id, change=wanted)
    request.app.state.keys.forget(workspace_id=caller.workspace_id)
    return answer(_said(stored))


def _said(stored: dict[str, int]) -> dict[str, object]:
    return {
        "limits": msgspec.structs.asdict(in_force(stored)),
        "set": stored,
        "defaults": msgspec.structs.asdict(DEFAULT),
        "ranges": {name: {"from": low, "to": high} for name, (low, high) in RANGES.items()},
    }
