"""The web application: a factory, so that each test and replica has its own."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from fastapi import Depends, FastAPI

import workbench
from workbench_server import problems
from workbench_server.access import Keys
from workbench_server.database import make_pool, open_safely
from workbench_server.edge import Edge
from workbench_server.ingest.committing import LANES, Committer
from workbench_server.live import Hub, Pace
from workbench_server.metrics import Metrics
from workbench_server.openapi import document
from workbench_server.parameters import V1, check_request
from workbench_server.rates import Rates
from workbench_server.readiness import Readiness
from workbench_server.routes import (
    agents,
    artifacts,
    batches,
    events,
    health,
    keys,
    limits,
    redaction,
    replays,
    runs,
    sessions,
    snapshots,
    stream,
    usage,
)
from workbench_server.storage import open_storage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from workbench_server.configuration import Configuration
    from workbench_server.database import Pool

    OpenPool = Callable[[Pool, str], Awaitable[None]]


def make_app(configuration: Configuration, *, open_pool: OpenPool = open_safely) -> FastAPI:
    """Return the app of these settings; it connects when its lifespan begins.

    Another `open_pool` is for the tests that stand the app on a role above row-level security.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        storage = open_storage(configuration.need("storage_url"))
        url = configuration.need("app_database_url")
        pool = make_pool(url)
        await open_pool(pool, url)
        app.state.pool, app.state.storage, app.state.keys = pool, storage, Keys(pool)
        app.state.rates = Rates()
        app.state.readiness = Readiness(pool, storage)
        app.state.metrics.watch(pool)
        commits = make_pool(url, size=LANES, autocommit=True)
        await commits.open(wait=True)
        app.state.committer = Committer(pool, commits)
        app.state.hub = Hub(pool, app.state.keys, url=url, pace=Pace.from_environment())
        try:
            async with app.state.hub.running():
                yield
        finally:
            await app.state.committer.close()
            await commits.close()
            await pool.close()

    app = _App(
        title="Workbench",
        version=workbench.__version__,
        lifespan=lifespan,
        dependencies=[Depends(check_request)],
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
    )
    app.state.metrics = Metrics()
    app.state.agents = configuration.agents
    app.add_middleware(Edge, metrics=app.state.metrics)
    problems.install(app)
    for part in (
        events,  # the busiest comes first: routes are tried in turn
        health,
        runs,
        sessions,
        batches,
        stream,
        artifacts,
        snapshots,
        replays,
        agents,
        keys,
        limits,
        redaction,
        usage,
    ):
        app.include_router(part.router, prefix=V1)
    app.include_router(health.plain)
    return app


class _App(FastAPI):
    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            self.openapi_schema = document(self)
        return self.openapi_schema
