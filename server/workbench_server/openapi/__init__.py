"""The OpenAPI document: FastAPI knows the routes and parameters, `operations` all else."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec
from fastapi.openapi.utils import get_openapi

import workbench
from workbench import errors
from workbench_server.edge import MOST_ADDRESS_BYTES
from workbench_server.openapi.answers import Problem
from workbench_server.openapi.operations import JSON, OPERATIONS, PARAMETERS, Body, Operation
from workbench_server.problems import MEDIA_TYPE, encoded

if TYPE_CHECKING:
    from fastapi import FastAPI

__all__ = ["document"]

_DESCRIPTION = f"""\
The event log of AI-agent runs. Send `Authorization: Bearer KEY`; the key names the workspace, and
no answer ever has anything of another. Every error is `application/problem+json` with a stable
`code`. A query parameter that an address does not have is refused (400), as is an address of more
than {MOST_ADDRESS_BYTES} bytes (414). Bodies may be packed with gzip or zstd. Times are UTC.
"""
_REF = "#/components/schemas/{name}"
_ROLES = {
    "reader": "Needs a key.",
    "writer": "Needs a key of a writer or admin.",
    "admin": "Needs a key of an admin.",
}
_METHODS = ("get", "put", "post", "patch", "delete")
_KEYED = (401, 403, 429)
_WITH_BODY = (413, 415, 422)
_ALWAYS = (400, 414, 422, 500, 503)


def document(app: FastAPI) -> dict[str, Any]:
    """Return the document of all routes of an app."""
    made = get_openapi(
        title="Workbench",
        version=workbench.__version__,
        description=_DESCRIPTION,
        routes=app.routes,
    )
    for path, methods in made["paths"].items():
        for method in _METHODS:
            known = OPERATIONS.get((method.upper(), path))
            if method in methods and known is not None:
                _complete(methods[method], known)
    made["components"] = _components()
    return made


def _complete(said: dict[str, Any], known: Operation) -> None:
    said["operationId"] = known.name
    said["parameters"] = [_parameter(one) for one in said.get("parameters", [])] + _headers(known)
    if known.body is not None:
        said["requestBody"] = _body(known.body)
    said["responses"] = _answers(known) | _problems(known)
    if known.role is not None:
        said["security"] = [{"key": []}]
        said["description"] = f"{said.get('description', '')}\n\n{_ROLES[known.role]}".strip()


def _parameter(said: dict[str, Any]) -> dict[str, Any]:
    text, more = PARAMETERS.get(said["name"], ("", {}))
    described = {"description": text} if text else {}
    name = "Last-Event-ID" if said["name"] == "last-event-id" else said["name"]
    schema = _given(said["schema"])
    if said["in"] == "path":
        schema |= more
    return said | described | {"name": name, "schema": schema}


def _given(schema: dict[str, Any]) -> dict[str, Any]:
    """Leave null out: a parameter that is not given is not there."""
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    if len(kinds) != 1:
        return schema
    only: dict[str, Any] = kinds[0]
    return {name: value for name, value in schema.items() if name != "anyOf"} | only


def _headers(known: Operation) -> list[dict[str, Any]]:
    named = [{"$ref": "#/components/parameters/RequestId"}]
    if known.body is not None:
        named.append({"$ref": "#/components/parameters/ContentEncoding"})
    return named


def _body(body: Body) -> dict[str, Any]:
    content = {media: {"schema": _schema(kind)} for media, kind in body.media.items()}
    if body.example is not None:
        content[JSON]["example"] = body.example
    return {"required": body.required, "content": content}


def _answers(known: Operation) -> dict[str, Any]:
    return {
        str(status): {
            "description": known.says,
            "headers": _ANSWER_HEADERS,
            "content": {media: {"schema": _schema(kind)} for media, kind in content.items()},
        }
        for status, content in known.answers.items()
    }


def _problems(known: Operation) -> dict[str, Any]:
    statuses = {
        *_ALWAYS,
        *(_KEYED if known.role else ()),
        *(_WITH_BODY if known.body else ()),
        *((404,) if known.finds else ()),
        *((409,) if known.conflicts else ()),
        *known.more,
    }
    named = {str(status): {"$ref": f"#/components/responses/{status}"} for status in statuses}
    return dict(sorted(named.items()))


def _schema(kind: Any) -> dict[str, Any]:
    if isinstance(kind, dict):
        return kind
    (schema,), _ = msgspec.json.schema_components([kind], ref_template=_REF)
    return dict(schema)


_ANSWER_HEADERS: dict[str, Any] = {"X-Request-ID": {"$ref": "#/components/headers/RequestId"}}
_MORE_HEADERS: dict[int, dict[str, Any]] = {
    401: {"WWW-Authenticate": {"schema": {"type": "string"}, "description": "`Bearer`."}},
    429: {"Retry-After": {"$ref": "#/components/headers/RetryAfter"}},
    503: {"Retry-After": {"$ref": "#/components/headers/RetryAfter"}},
}


def _components() -> dict[str, Any]:
    kinds = [
        kind
        for known in OPERATIONS.values()
        for content in (*known.answers.values(), known.body.media if known.body else {})
        for kind in content.values()
        if not isinstance(kind, dict)
    ]
    _, schemas = msgspec.json.schema_components([*kinds, Problem], ref_template=_REF)
    return {
        "schemas": schemas,
        "responses": {str(status): _problem(HTTPStatus(status)) for status in _REFUSALS},
        "parameters": _PARAMETERS,
        "headers": _HEADERS,
        "securitySchemes": {
            "key": {
                "type": "http",
                "scheme": "bearer",
                "description": "An API key of the workspace; `workbench keys` makes them.",
            }
        },
    }


def _problem(status: HTTPStatus) -> dict[str, Any]:
    return {
        "description": status.phrase,
        "headers": _ANSWER_HEADERS | _MORE_HEADERS.get(status, {}),
        "content": {
            MEDIA_TYPE: {
                "schema": {"$ref": _REF.format(name="Problem")},
                "example": _example(status),
            }
        },
    }


def _example(status: HTTPStatus) -> dict[str, Any]:
    """Return a problem as it is answered with this status."""
    said = encoded(_REFUSALS[status], status=status, request_id=_REQUEST_ID)
    return dict(msgspec.json.decode(said)) | {"timestamp": "2026-01-31T12:00:00.000000Z"}


_REQUEST_ID = "0195d6f0-4f5e-4a8e-9d7c-6f0b2f6f1a11"
_REFUSALS: dict[int, errors.WorkbenchError] = {
    400: errors.UnknownParameter(
        "there is no parameter 'lable' here", where="query", hint="Did you mean label?"
    ),
    401: errors.Unauthenticated("the API key is missing, unknown or expired"),
    403: errors.Forbidden("this key may only read", expected="writer or admin", found="reader"),
    404: errors.NotFound("there is nothing at this address", where="GET /v1/rums"),
    409: errors.SequenceGap(
        "the batch skips numbers of its writer", where="events[0]", expected=5, found=9
    ),
    413: errors.LimitExceeded("the body is too large", expected="at most 33554432 bytes"),
    414: errors.LimitExceeded("the address is too long", expected="at most 8192 bytes"),
    415: errors.UnsupportedMedia(
        "the body is of a media type that this address does not take",
        where="Content-Type",
        expected="application/json",
        found="text/plain",
    ),
    422: errors.InvalidEvent("the batch is malformed", found="Input data was truncated"),
    429: errors.RateLimited(
        "the workspace asks for more than its limit", limit="events_per_s", retry_after=2
    ),
    500: errors.WorkbenchError("the server failed"),
    503: errors.Unavailable("the database cannot be reached", found="connection refused"),
}
_PARAMETERS = {
    "RequestId": {
        "name": "X-Request-ID",
        "in": "header",
        "description": "An id of the caller's own for this request; the answer and the log say it.",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._:-]{1,128}$"},
    },
    "ContentEncoding": {
        "name": "Content-Encoding",
        "in": "header",
        "description": "How the body is packed.",
        "schema": {"type": "string", "enum": ["identity", "gzip", "zstd"]},
    },
}
_HEADERS = {
    "RequestId": {"description": "The request's id.", "schema": {"type": "string"}},
    "RetryAfter": {
        "description": "How many seconds to wait before it is tried again.",
        "schema": {"type": "string", "pattern": "^[0-9]+$"},
    },
}
