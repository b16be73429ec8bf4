"""HTTP as uvicorn speaks it, with a bound on heads, and a problem where a request is no HTTP."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from workbench.errors import LimitExceeded, UsageError, WorkbenchError
from workbench_server.problems import MEDIA_TYPE, encoded

if TYPE_CHECKING:
    import asyncio

    from workbench_server.metrics import Metrics

MOST_HEAD_BYTES = 65_536
_HEAD_S = 60.0  # from the first byte of a head, or from the connection, to the head's end

_log = logging.getLogger("workbench.requests")


class Protocol(HttpToolsProtocol):
    """One connection; the parser itself would keep a head of any length."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._in_head = True
        self._head_bytes = 0
        self._late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin; whoever never says anything is not waited for."""
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """End, and wait for nothing any more."""
        self._forget_head()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came, unless it is a head that does not end."""
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MOST_HEAD_BYTES and b"\r\n\r\n" not in data:
                self._refuse(
                    LimitExceeded(
                        "the headers are too large",
                        expected=f"at most {MOST_HEAD_BYTES} bytes",
                        hint="Send fewer or shorter headers.",
                    ),
                    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
                )
                return
        super().data_received(data)
        if self._in_head and self._head_bytes and self._late is None:
            self._await_head()

    def _await_head(self) -> None:
        if not self.transport.is_closing():
            self._late = self.loop.call_later(_HEAD_S, self._give_up)

    def _forget_head(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _give_up(self) -> None:
        """Close what holds a connection with a part of a head, or with nothing."""
        if self.cycle is not None and not self.cycle.response_complete:
            self._await_head()  # an answer is on its way, and is not cut in two
        elif not self._head_bytes:
            self.transport.close()
        else:
            self._refuse(
                UsageError(
                    "the request's head did not end in time",
                    expected=f"within {_HEAD_S:.0f} seconds",
                    hint="Send it again.",
                ),
                HTTPStatus.REQUEST_TIMEOUT,
            )

    def on_headers_complete(self) -> None:
        """Begin to answer; an answer that nobody takes can be cut off with what is on its way."""
        self._in_head = False
        self._forget_head()
        self.scope["extensions"] = {"workbench": {"abort": self.transport.abort}}
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Expect the next head."""
        self._in_head, self._head_bytes = True, 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Say what uvicorn would say as plain text."""
        self._refuse(
            UsageError(
                "the request is no valid HTTP/1.1",
                found=msg,
                hint="Check its first line, headers and chunks.",
            ),
            HTTPStatus.BAD_REQUEST,
        )

    def _refuse(self, error: WorkbenchError, status: HTTPStatus) -> None:
        if self.transport.is_closing():
            return
        request_id = str(uuid4())
        body = encoded(error, status=status, request_id=request_id)
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\n"
            f"content-type: {MEDIA_TYPE}\r\n"
            f"content-length: {len(body)}\r\n"
            f"x-request-id: {request_id}\r\n"
            "connection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()
        self._note(error.code, status, request_id)

    def _note(self, code: str, status: HTTPStatus, request_id: str) -> None:
        """Log and count what never comes as far as the app, which does so for all else."""
        app: Any = self.config.app
        metrics: Metrics = app.state.metrics
        metrics.problem(code)
        metrics.answered("other", "unknown", status=status.value, seconds=None)
        facts = {"request_id": request_id, "status": status.value, "code": code}
        _log.info("no request %d", status, extra={"facts": facts})
