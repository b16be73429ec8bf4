"""Say what is there and what it reaches, for people, probes and Prometheus."""

import asyncio
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request, Response

import workbench
from workbench_server import metrics
from workbench_server.access import authenticated, key_of
from workbench_server.routes.answers import answer

if TYPE_CHECKING:
    from workbench_server.readiness import Readiness

router = APIRouter(tags=["health"])
plain = APIRouter(tags=["health"])


@router.get("/health")
async def health(request: Request) -> Response:
    """Say that the server lives and what it reaches; with a key, also whose workspace it is."""
    found: Readiness = request.app.state.readiness
    database, storage = await asyncio.gather(found.database.answer(), found.storage.answer())
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


@router.get("/ready")
async def ready(request: Request) -> Response:
    """Say whether requests should be sent here; 503 says what is missing."""
    found: Readiness = request.app.state.readiness
    return answer({"status": "ready", "checks": await found.check()})


@plain.get("/metrics")
async def counters(request: Request) -> Response:
    """Return the counters in Prometheus' text form; they name no workspace, run or key."""
    found: Readiness = request.app.state.readiness
    state = await found.database.answer()
    request.app.state.metrics.behind(None if state is None else state.backlog)
    return Response(request.app.state.metrics.text(), media_type=metrics.MEDIA_TYPE)
