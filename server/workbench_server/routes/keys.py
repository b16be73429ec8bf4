"""The keys of a workspace, for its admins."""

from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response

from workbench_server import keys
from workbench_server.access import Admin
from workbench_server.routes.answers import answer
from workbench_server.routes.asking import asked

router = APIRouter(tags=["keys"])


@router.get("/keys")
async def listing(request: Request, caller: Admin) -> Response:
    """List the keys, the oldest first; the keys themselves are stored nowhere."""
    return answer({"keys": await keys.list_keys(request.app.state.pool, caller.workspace_id)})


@router.post("/keys", status_code=201)
async def create(request: Request, caller: Admin) -> Response:
    """Make a key; this answer is the only place that ever shows it."""
    wanted = await asked(request, keys.NewKey)
    made = await keys.create_key(request.app.state.pool, caller.workspace_id, wanted=wanted)
    return _shown_once(*made)


@router.post("/keys/{key_id}/rotate", status_code=201)
async def rotate(request: Request, caller: Admin, key_id: str) -> Response:
    """Make a key of the same role in place of this one, which goes on for the overlap."""
    wanted = await asked(request, keys.Rotation)
    made = await keys.rotate_key(
        request.app.state.pool, caller.workspace_id, key_id=key_id, overlap_s=wanted.overlap_s
    )
    request.app.state.keys.forget(key_id=key_id)
    return _shown_once(*made)


@router.delete("/keys/{key_id}")
async def revoke(request: Request, caller: Admin, key_id: str) -> Response:
    """End a key now: at once in this process, within five seconds in others."""
    key = await keys.revoke_key(request.app.state.pool, caller.workspace_id, key_id=key_id)
    request.app.state.keys.forget(key_id=key_id)
    return answer({"key": key})


def _shown_once(key: dict[str, Any], secret: str) -> Response:
    content = msgspec.json.encode({"key": key, "secret": secret})
    return Response(
        content,
        status_code=201,
        media_type="application/json",
        headers={"Cache-Control": "no-store"},
    )
