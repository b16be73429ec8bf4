"""Every error as problem+json: a stable code, a time, the request's id, the facts."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec
import psycopg
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from workbench import errors
from workbench.schema import now

if TYPE_CHECKING:
    from fastapi import FastAPI, Request

_log = logging.getLogger("workbench")

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
}


def status_of(error: errors.WorkbenchError) -> int:
    """Return the HTTP status of an error of the tree."""
    return next((_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS), 500)


def problem(request: Request, error: errors.WorkbenchError, *, status: int) -> Response:
    """Return the error as a response."""
    code = error.code
    content: dict[str, Any] = error.as_problem() | {
        "type": f"urn:workbench:{code}",
        "status": status,
        "detail": str(error),
        "timestamp": now(),
        "request_id": request.scope.get("request_id"),
    }
    return Response(
        msgspec.json.encode(content, enc_hook=str),
        status_code=status,
        headers=_headers(error, status),
        media_type="application/problem+json",
    )


def _headers(error: errors.WorkbenchError, status: int) -> dict[str, str]:
    if status == HTTPStatus.UNAUTHORIZED:
        return {"WWW-Authenticate": "Bearer"}
    after = error.facts.get("retry_after")
    return {} if after is None else {"Retry-After": str(after)}


def install(app: FastAPI) -> None:
    """Let the app answer with problems, whatever goes wrong."""

    @app.exception_handler(errors.WorkbenchError)
    async def ours(request: Request, error: errors.WorkbenchError) -> Response:
        return problem(request, error, status=status_of(error))

    @app.exception_handler(RequestValidationError)
    async def validation(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        wrong = errors.UsageError(f"the request does not fit: {first['msg']}", where=place)
        return problem(request, wrong, status=422)

    @app.exception_handler(psycopg.DataError)
    async def data(request: Request, error: psycopg.DataError) -> Response:
        text = str(error).partition("\n")[0]
        wrong = errors.UsageError("a value does not fit its column", found=text)
        return problem(request, wrong, status=422)

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        wrong = _of_http(error, request)
        return problem(request, wrong, status=error.status_code)

    @app.exception_handler(500)
    async def unexpected(request: Request, error: Exception) -> Response:
        _log.error("request %s failed", request.scope.get("request_id"), exc_info=error)
        return problem(request, errors.WorkbenchError("the server failed"), status=500)


def _of_http(error: HTTPException, request: Request) -> errors.WorkbenchError:
    place = f"{request.method} {request.url.path}"
    if error.status_code == HTTPStatus.NOT_FOUND:
        return errors.NotFound("there is nothing at this address", where=place)
    return errors.UsageError(str(error.detail), where=place)
