"""The web application: a factory, so that each test and replica has its own."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from fastapi import FastAPI

import workbench
from workbench_server import problems
from workbench_server.access import Keys
from workbench_server.database import make_pool, open_safely
from workbench_server.metrics import Metrics
from workbench_server.rates import Rates
from workbench_server.routes import artifacts, events, health, keys, limits, runs, snapshots, usage
from workbench_server.storage import open_storage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from workbench_server.configuration import Configuration

    Scope = dict[str, Any]
    Receive = Callable[[], Awaitable[dict[str, Any]]]
    Send = Callable[[dict[str, Any]], Awaitable[None]]


def make_app(configuration: Configuration) -> FastAPI:
    """Return the app of these settings; it connects when its lifespan begins."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        storage = open_storage(configuration.need("storage_url"))
        url = configuration.need("app_database_url")
        pool = make_pool(url)
        await open_safely(pool, url)
        app.state.pool, app.state.storage, app.state.keys = pool, storage, Keys(pool)
        app.state.rates = Rates()
        try:
            yield
        finally:
            await pool.close()

    app = FastAPI(title="Workbench", version=workbench.__version__, lifespan=lifespan)
    app.state.metrics = Metrics()
    app.add_middleware(RequestId)
    problems.install(app)
    for part in (health, runs, events, artifacts, snapshots, keys, limits, usage):
        app.include_router(part.router, prefix="/v1")
    return app


class RequestId:
    """Gives every request an id, and says it in the answer."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        scope["request_id"] = str(uuid4())

        async def send_with_id(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                pair = (b"x-request-id", scope["request_id"].encode())
                message["headers"] = [*message.get("headers", ()), pair]
            await send(message)

        await self.app(scope, receive, send_with_id)
