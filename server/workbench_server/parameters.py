"""One check for every route: nobody's spelling mistake is passed over in silence."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from fastapi import Request  # noqa: TC002 - FastAPI reads the annotation

from workbench.errors import UnknownParameter, UnsupportedMedia, UsageError
from workbench_server.logs import bind
from workbench_server.openapi.operations import ANY, OPERATIONS

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
    path = template(request.scope["path"], route.path_format)
    bind(route=path)
    if len(run_id) == _UUID_CHARACTERS:
        bind(run_id=run_id)
    if request.scope["query_string"]:
        _check_query(request, _parameters(route))
    known = OPERATIONS.get((request.method, path))
    if known is not None and known.body is not None:
        _check_media(request, known.body.media)


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


def _check_media(request: Request, media: Mapping[str, Any]) -> None:
    """Refuse a body that says it is something else; one that says nothing is taken at its word."""
    said = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not said or said in media or ANY in media:
        return
    raise UnsupportedMedia(
        "the body is of a media type that this address does not take",
        where="Content-Type",
        expected=" or ".join(media),
        found=said[:_MOST_SHOWN],
        hint=f"Send `Content-Type: {next(iter(media))}`.",
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
