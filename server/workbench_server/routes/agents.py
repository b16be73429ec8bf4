"""The agents that can be replayed here, by name."""

from fastapi import APIRouter, Request, Response

from workbench_server.access import Reader
from workbench_server.routes.answers import answer

router = APIRouter(tags=["replays"])


@router.get("/agents")
async def listing(request: Request, caller: Reader) -> Response:  # noqa: ARG001 - it is for keys
    """List the registered agents; where they lie is the operator's business."""
    known = sorted(request.app.state.agents.items())
    return answer({"agents": [{"name": name, "live": agent.live} for name, agent in known]})
