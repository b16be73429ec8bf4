"""Every error as problem+json: a stable code, a time, the request's id, the facts."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING

import msgspec
import psycopg
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.routing import Match

from workbench import errors
from workbench.masking import without_secrets
from workbench.schema import now
from workbench_server.logs import bind

if TYPE_CHECKING:
    from fastapi import FastAPI, Request

MEDIA_TYPE = "application/problem+json"

_log = logging.getLogger("workbench.problems")
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_MOST_SHOWN = 200
_STATUS: dict[type[errors.WorkbenchError], int] = {
    errors.NotFound: 404,
    errors.SchemaError: 422,
    errors.SequenceError: 409,
    errors.FormatError: 422,
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.LimitExceeded: 413,
    errors.RateLimited: 429,
    errors.Conflict: 409,
    errors.ReadOnly: 405,
    errors.Unavailable: 503,
    errors.PrivacyError: 422,
    errors.UsageError: 422,
    errors.UnknownParameter: 400,
    errors.UnsupportedMedia: 415,
}

_HINTS: dict[type[errors.WorkbenchError], str] = {
    errors.InvalidEvent: "Mend it and send it again: nothing of this request was stored.",
    errors.UnknownSchemaVersion: "Use a sender and a server of the same version.",
    errors.MissingBodies: "Send them in the batch's bodies.",
    errors.SequenceGap: "Send again from the number that was expected.",
    errors.SequenceConflict: "Give each process its own writer name, and each event one number.",
    errors.RunClosed: "Stop sending: the run is over. What was announced is still taken.",
    errors.RunNotFound: "GET /v1/runs lists the runs of this key's workspace.",
    errors.ArtifactNotFound: "PUT the bytes first; GET /v1/artifacts lists what runs made.",
    errors.LimitExceeded: "Send less at once, or let an admin raise the limit.",
    errors.Forbidden: "Use a key of a higher role; `workbench keys` makes them.",
    errors.UsageError: "GET /openapi.json describes what this address takes.",
    errors.Conflict: "Read what is there, and send what fits it.",
    errors.Unavailable: "Try again in a moment; GET /v1/ready says what is missing.",
}


def status_of(error: errors.WorkbenchError) -> int:
    """Return the HTTP status of an error of the tree."""
    return next((_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS), 500)


def problem(
    request: Request,
    error: errors.WorkbenchError,
    *,
    status: int,
    headers: dict[str, str] | None = None,
) -> Response:
    """Return the error as a response; it is counted, and its code stands in the request's log."""
    request.app.state.metrics.problem(error.code)
    bind(code=error.code)
    return Response(
        encoded(error, status=status, request_id=request.scope.get("request_id")),
        status_code=status,
        headers=_headers(error, status) | (headers or {}),
        media_type=MEDIA_TYPE,
    )


def encoded(error: errors.WorkbenchError, *, status: int, request_id: str | None) -> bytes:
    """Return the error as JSON; its facts stand in `details`, the sides also beside the title."""
    facts = error.as_problem()
    if error.hint is None and (usual := _usual_hint(error)) is not None:
        facts["hint"] = usual
    sides = {name: facts[name] for name in ("where", "expected", "found", "hint") if name in facts}
    content = facts | {
        "type": f"urn:workbench:{error.code}",
        "status": status,
        "detail": str(error),
        "timestamp": now(),
        "request_id": request_id,
        "details": sides | facts["details"],
    }
    # A key in a path or a body would come back in the error that names it.
    return without_secrets(msgspec.json.encode(content, enc_hook=str).decode()).encode()


def _usual_hint(error: errors.WorkbenchError) -> str | None:
    """Return what to do about an error of this kind, where its own place does not know better."""
    return next((_HINTS[kind] for kind in type(error).__mro__ if kind in _HINTS), None)


def _headers(error: errors.WorkbenchError, status: int) -> dict[str, str]:
    if status == HTTPStatus.UNAUTHORIZED:
        return {"WWW-Authenticate": "Bearer"}
    soon = 1 if status == HTTPStatus.SERVICE_UNAVAILABLE else None
    after = error.facts.get("retry_after", soon)
    return {} if after is None else {"Retry-After": str(after)}


def install(app: FastAPI) -> None:
    """Let the app answer with problems, whatever goes wrong."""

    @app.exception_handler(errors.WorkbenchError)
    async def ours(request: Request, error: errors.WorkbenchError) -> Response:
        return problem(request, error, status=status_of(error))

    @app.exception_handler(RequestValidationError)
    async def validation(request: Request, error: RequestValidationError) -> Response:
        return problem(request, _of_validation(error), status=422)

    @app.exception_handler(psycopg.DataError)
    async def data(request: Request, error: psycopg.DataError) -> Response:
        text = str(error).partition("\n")[0]
        wrong = errors.UsageError(
            "a value does not fit its column",
            found=text,
            hint="Send a smaller number or a shorter text.",
        )
        return problem(request, wrong, status=422)

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        return _of_http(request, error)


def of_failure(request: Request, error: Exception) -> Response:
    """Log what nobody foresaw, with its traceback, and return an answer without it."""
    _log.error("the request failed", exc_info=error)
    request_id = request.scope.get("request_id")
    failed = errors.WorkbenchError(
        "the server failed", hint=f"Its log has the reason, beside the request_id {request_id}."
    )
    return problem(request, failed, status=500)


def _of_validation(error: RequestValidationError) -> errors.WorkbenchError:
    first = error.errors()[0]
    found = first.get("input")
    return errors.UsageError(
        "the request does not fit",
        where=".".join(str(part) for part in first["loc"]),
        expected=str(first["msg"]).removeprefix("Input should be "),
        found=None if found is None else str(found)[:_MOST_SHOWN],
        hint="GET /openapi.json describes every parameter.",
    )


def _of_http(request: Request, error: HTTPException) -> Response:
    place = f"{request.method} {request.url.path}"[:_MOST_SHOWN]
    match error.status_code:
        case HTTPStatus.NOT_FOUND:
            wrong: errors.WorkbenchError = errors.NotFound(
                "there is nothing at this address",
                where=place,
                hint="GET /openapi.json lists the addresses.",
            )
            return problem(request, wrong, status=404)
        case HTTPStatus.METHOD_NOT_ALLOWED:
            allowed = ", ".join(_allowed(request))
            wrong = errors.UsageError(
                "the address does not know this method",
                where=place,
                expected=allowed,
                found=request.method,
                hint=f"Use {allowed}.",
            )
            return problem(request, wrong, status=405, headers={"Allow": allowed})
        case status:
            wrong = errors.UsageError(str(error.detail), where=place)
            return problem(request, wrong, status=status, headers=dict(error.headers or {}))


def _allowed(request: Request) -> list[str]:
    """Return all methods of the address; its routes know only their own."""
    plain = ("type", "path", "root_path", "headers", "query_string")
    scope = {name: request.scope[name] for name in plain if name in request.scope}

    def answers(method: str) -> bool:
        tried = scope | {"method": method}
        return any(
            route.matches(dict(tried))[0] is Match.FULL for route in request.app.router.routes
        )

    return [method for method in _METHODS if answers(method)]
