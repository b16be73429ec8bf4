"""One check for every route: nobody's spelling mistake is passed over in silence."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from fastapi import Request  # noqa: TC002 - FastAPI reads the annotation

from workbench.errors import UnknownParameter, UsageError
from workbench_server.logs import bind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fastapi._compat import ModelField
    from fastapi.dependencies.models import Dependant
    from fastapi.routing import APIRoute

V1 = "/v1"

_UUID_CHARACTERS = 36
_MOST_SHOWN = 80
_known: dict[Any, dict[str, bool]] = {}  # by endpoint: a route is not hashable


async def check_request(request: Request) -> None:
    """Name the route for the log, and refuse query parameters that it does not have."""
    route: APIRoute = request.scope["route"]
    run_id = request.path_params.get("run_id", "")
    bind(route=template(request.scope["path"], route.path_format))
    if len(run_id) == _UUID_CHARACTERS:
        bind(run_id=run_id)
    if request.scope["query_string"]:
        _check_query(request, _parameters(route))


def template(path: str, own: str) -> str:
    """Return a route's address with the prefix under which it was included."""
    return f"{V1}{own}" if path.startswith(f"{V1}/") else own


def _parameters(route: APIRoute) -> dict[str, bool]:
    """Return each parameter's name, and whether it may come more than once."""
    known = _known.get(route.endpoint)
    if known is None:
        fields = _fields(route.dependant)
        known = {field.alias: "list" in str(field.field_info.annotation) for field in fields}
        _known[route.endpoint] = known
    return known


def _fields(dependant: Dependant) -> Iterator[ModelField]:
    yield from dependant.query_params
    for below in dependant.dependencies:
        yield from _fields(below)


def _check_query(request: Request, known: Mapping[str, bool]) -> None:
    names = [name for name, _ in request.query_params.multi_items()]
    for name in dict.fromkeys(names):
        if name not in known:
            raise _unknown(name, known)
        if names.count(name) > 1 and not known[name]:
            raise UsageError(
                f"the parameter {name} came more than once",
                where=f"query.{name}",
                expected="one value",
                found=f"{names.count(name)} values",
            )


def _unknown(name: str, known: Mapping[str, bool]) -> UnknownParameter:
    near = get_close_matches(name, list(known), n=1, cutoff=0.4)
    return UnknownParameter(
        f"there is no parameter {name[:_MOST_SHOWN]!r} here",
        where="query",
        expected=", ".join(known) or "no parameters",
        found=name[:_MOST_SHOWN],
        hint=f"Did you mean {near[0]}?" if near else "GET /openapi.json lists the parameters.",
        nearest=near,
    )
