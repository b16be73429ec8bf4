"""The outermost layer: each request gets an id, a line in the log, a place in the counters."""

from __future__ import annotations

import logging
import re
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from fastapi import Request
from starlette.requests import ClientDisconnect

from workbench.errors import LimitExceeded
from workbench.masking import without_secrets
from workbench_server.logs import binding
from workbench_server.problems import of_failure, problem

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from workbench_server.metrics import Metrics

    Message = MutableMapping[str, Any]
    Scope = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]

MOST_ADDRESS_BYTES = 8_192

_log = logging.getLogger("workbench.requests")
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
# asked each second, or a thousand times a second; the counters tell of them
_QUIET = frozenset(
    (
        ("GET", "/v1/health"),
        ("GET", "/v1/ready"),
        ("GET", "/metrics"),
        ("POST", "/v1/runs/{run_id}/events"),
    )
)
_GONE = 499  # what others log when the client did not wait; nobody is sent it
_SAFE = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'; sandbox"),
)


class Edge:
    """The plain ASGI layer that wraps everything else of the app."""

    def __init__(self, app: Any, *, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = scope["request_id"] = _id_of(scope)
        method = scope["method"] if scope["method"] in _METHODS else "other"
        answered = _Answered(send, request_id, self._metrics)
        begun = time.perf_counter()
        with binding(request_id=request_id, method=method) as bound:
            try:
                await self._answer(scope, receive, answered)
            finally:
                answered.end()
                self._note(answered, bound, seconds=time.perf_counter() - begun)

    async def _answer(self, scope: Scope, receive: Receive, answered: _Answered) -> None:
        if len(scope["raw_path"]) + len(scope["query_string"]) > MOST_ADDRESS_BYTES:
            response = problem(Request(scope), _too_long(), status=414)
            await response(scope, receive, answered)
            return
        try:
            await self._app(scope, receive, answered)
        except ClientDisconnect:
            answered.status = answered.status or _GONE
        except Exception as error:
            if answered.status:  # half of it is sent: only a broken connection can say so
                _log.exception("the answer broke off")
                raise
            response = of_failure(Request(scope), error)
            await response(scope, receive, answered)

    def _note(self, answered: _Answered, bound: dict[str, Any], *, seconds: float) -> None:
        status = answered.status or _GONE
        route = bound.get("route", "unknown")
        method = bound["method"]
        self._metrics.answered(
            method, route, status=status, seconds=None if answered.is_stream else seconds
        )
        level = _level(method, route, status)
        if _log.isEnabledFor(level):
            facts = {"status": status, "ms": round(seconds * 1000, 2)}
            _log.log(level, "%s %s %d", method, route, status, extra={"facts": facts})


class _Answered:
    """What is sent, with the headers each answer has; remembers how it began."""

    def __init__(self, send: Send, request_id: str, metrics: Metrics) -> None:
        self._send = send
        self._headers = (*_SAFE, (b"x-request-id", request_id.encode()))
        self._metrics = metrics
        self.status = 0
        self.is_stream = False
        metrics.in_flight.inc()

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message.get("headers", ()), *self._headers]
            if any(pair[1].startswith(b"text/event-stream") for pair in message["headers"]):
                self.is_stream = True
                self._metrics.streams.inc()
        await self._send(message)

    def end(self) -> None:
        self._metrics.in_flight.dec()
        if self.is_stream:
            self._metrics.streams.dec()


def _id_of(scope: Scope) -> str:
    """Take over the id a caller gave, where it is one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            return without_secrets(str(value, "ascii"))
    return str(uuid4())


def _level(method: str, route: str, status: int) -> int:
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return logging.WARNING
    quiet = status < HTTPStatus.BAD_REQUEST and (method, route) in _QUIET
    return logging.DEBUG if quiet else logging.INFO


def _too_long() -> LimitExceeded:
    return LimitExceeded(
        "the address is too long",
        expected=f"at most {MOST_ADDRESS_BYTES} bytes",
        hint="Ask for less at once.",
    )
