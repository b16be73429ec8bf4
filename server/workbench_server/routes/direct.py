"""A route whose requests come by the thousand a second."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi.routing import APIRoute

from workbench_server.access import authenticated, writing
from workbench_server.parameters import check_request

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from fastapi import Request, Response


class Direct(APIRoute):
    """Calls its endpoint by hand where the request has no query: solving costs more than storing.

    The endpoint takes the request, a writer and a run id, and has defaults for all else.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return what answers a request of this route."""
        solved, endpoint = super().get_route_handler(), self.endpoint

        async def handle(request: Request) -> Response:
            if request.scope["query_string"]:
                return await solved(request)
            await check_request(request)
            caller = await writing(await authenticated(request))
            answered: Response = await endpoint(request, caller, request.path_params["run_id"])
            return answered

        return handle
