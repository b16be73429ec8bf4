"""The rules by which a workspace's senders redact: for those who write; its admins change them."""

import msgspec
from fastapi import APIRouter, Request, Response

from workbench_server.access import Admin, Writer
from workbench_server.redacting import Rules, change_rules, rules_of
from workbench_server.routes.asking import asked

router = APIRouter(tags=["redaction"])


@router.get("/redaction")
async def look(request: Request, caller: Writer) -> Response:
    """Return the rules, and the key that placeholders are made with; a reader has no use for it."""
    return _kept_nowhere(await rules_of(request.app.state.pool, caller.workspace_id))


@router.put("/redaction")
async def change(request: Request, caller: Admin) -> Response:
    """Put rules in the place of those there are: at once here, within five seconds elsewhere."""
    wanted = await asked(request, Rules)
    found = await change_rules(request.app.state.pool, caller.workspace_id, rules=wanted.rules)
    request.app.state.keys.forget(workspace_id=caller.workspace_id)
    return _kept_nowhere(found)


def _kept_nowhere(facts: dict[str, object]) -> Response:
    return Response(
        msgspec.json.encode(facts),
        media_type="application/json",
        headers={"Cache-Control": "no-store"},
    )
