"""HTTP to a Workbench server: compression, retries, and problems turned into errors."""

from __future__ import annotations

import copy
import os
import random
import time
from contextlib import ExitStack, contextmanager
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final, Self

import httpx
import msgspec
import zstandard

from workbench import ours
from workbench.errors import Unavailable, UsageError, WorkbenchError

if TYPE_CHECKING:
    from collections.abc import Iterator

ARROW: Final = "application/vnd.apache.arrow.stream"
_ATTEMPTS = 4
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 5.0
_TRY_AGAIN = frozenset({502, 503, 504})
_TOO_FAST = 429
_PATIENCE_S = 120.0
_SMALLEST_COMPRESSED = 1024
_REDIRECT, _FAILED = 300, 400


class Wire:
    """One server as one key sees it; safe to share between threads.

    Every request is idempotent (runs come with their id, events with their ``writer_seq``), so all
    of them are tried again after a broken connection or a busy server.
    """

    def __init__(
        self,
        url: str,
        api_key: str | None,
        *,
        timeout_s: float = 60.0,
        local_socket: str | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self.api_key = api_key
        self._attempts = _ATTEMPTS
        self._patience_s = _PATIENCE_S
        self._timeout_s = timeout_s
        self._packs = True
        self._local_socket = local_socket
        try:
            self._own, self._process = self._connected(), os.getpid()
        except (httpx.InvalidURL, ValueError) as error:
            raise Unavailable("this is not an address", where=url, found=str(error)) from error

    def _connected(self) -> httpx.Client:
        # a path instead of a port: it works from any network, and past any proxy
        path = self._local_socket
        transport = None if path is None else httpx.HTTPTransport(uds=path)
        headers = {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}
        return httpx.Client(base_url=self.url, headers=headers, transport=transport)

    @property
    def _client(self) -> httpx.Client:
        """The connections of this process: those of one it was forked from are not its own."""
        if self._process != os.getpid():
            self._own, self._process = self._connected(), os.getpid()
        return self._own

    def hasty(self, *, timeout_s: float) -> Self:
        """Return this wire for whoever tries again by itself: each request is sent once.

        To this machine itself nothing is compressed: that would take longer than to send it.
        """
        made = copy.copy(self)
        made._attempts, made._patience_s, made._timeout_s = 1, 0.0, timeout_s  # noqa: SLF001
        made._packs = not _is_here(self._client.base_url.host)  # noqa: SLF001
        return made

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def get(self, path: str, *, accept: str = "application/json", **query: Any) -> bytes:
        """Return the body of a GET; a query value of None is left out."""
        params = {name: value for name, value in query.items() if value is not None}
        return self._send("GET", path, params=params, headers={"Accept": accept}).content

    def get_json(self, path: str, **query: Any) -> dict[str, Any]:
        """Return the JSON of a GET."""
        return self._decoded(self.get(path, **query))

    def send_json(self, method: str, path: str, body: Any) -> dict[str, Any]:
        """Send a body as JSON and return the JSON that comes back."""
        content, headers = self._packed(msgspec.json.encode(body))
        headers["Content-Type"] = "application/json"
        return self._decoded(self._send(method, path, content=content, headers=headers).content)

    def send_lines(self, path: str, lines: bytes) -> dict[str, Any]:
        """Send lines of JSON and return the JSON that comes back."""
        content, headers = self._packed(lines)
        headers["Content-Type"] = "application/x-ndjson"
        return self._decoded(self._send("POST", path, content=content, headers=headers).content)

    def put(self, path: str, data: bytes) -> None:
        """Send bytes as they are."""
        headers = {"Content-Type": "application/octet-stream"}
        self._send("PUT", path, content=data, headers=headers)

    @contextmanager
    def stream(
        self, path: str, *, headers: dict[str, str], silence_s: float
    ) -> Iterator[httpx.Response]:
        """Open an answer that has no end; a silence longer than ``silence_s`` breaks it off."""
        if self._client.is_closed:
            raise UsageError("the store is closed", where=self.url)
        timeout = httpx.Timeout(silence_s, connect=5.0)
        try:
            with ExitStack() as stack:
                opening = self._client.stream("GET", path, headers=headers, timeout=timeout)
                with ours.asking():
                    response = stack.enter_context(opening)
                if response.status_code >= _REDIRECT:
                    response.read()
                yield self._checked(response)
        except httpx.TransportError as error:
            raise self._unreachable(error) from error

    def _packed(self, raw: bytes) -> tuple[bytes, dict[str, str]]:
        if not self._packs or len(raw) < _SMALLEST_COMPRESSED:
            return raw, {}
        return zstandard.compress(raw, 1), {"Content-Encoding": "zstd"}

    def _decoded(self, raw: bytes) -> dict[str, Any]:
        try:
            return msgspec.json.decode(raw, type=dict[str, Any])
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise self._stranger(raw) from error

    def _send(self, method: str, path: str, **request: Any) -> httpx.Response:
        """Send a request; whoever asks too much at once comes back when the server says so."""
        deadline = time.monotonic() + self._patience_s
        while True:
            response = self._answer_to(method, path, **request)
            wait_s = _asked_to_wait(response)
            if wait_s is None or time.monotonic() + wait_s > deadline:
                return self._checked(response)
            time.sleep(wait_s)

    def _answer_to(self, method: str, path: str, **request: Any) -> httpx.Response:
        timeout = httpx.Timeout(self._timeout_s, connect=min(5.0, self._timeout_s))
        for attempt in range(1, self._attempts + 1):
            last = attempt == self._attempts
            try:
                with ours.asking():
                    response = self._client.request(method, path, timeout=timeout, **request)
            except httpx.ConnectError as error:
                # a server that restarts is back soon; one that is not there never is
                if last or attempt > 1:
                    raise self._unreachable(error) from error
                _pause(attempt, None)
            except httpx.TransportError as error:
                if last:
                    raise self._unreachable(error) from error
                _pause(attempt, None)
            else:
                if response.status_code not in _TRY_AGAIN or last:
                    return response
                _pause(attempt, response.headers.get("Retry-After"))
        raise AssertionError  # the last attempt returns or raises

    def _checked(self, response: httpx.Response) -> httpx.Response:
        if response.status_code < _REDIRECT:
            return response
        try:
            problem = msgspec.json.decode(response.content, type=dict[str, Any])
        except (msgspec.MsgspecError, UnicodeDecodeError):
            problem = {}
        if response.status_code >= _FAILED and "code" in problem:
            raise WorkbenchError.from_problem(problem)
        raise self._stranger(response.content, status=response.status_code)

    def _unreachable(self, error: httpx.TransportError) -> Unavailable:
        return Unavailable(
            "the server cannot be reached",
            where=self.url,
            found=str(error) or type(error).__name__,
            hint="`workbench doctor` says what is wrong, `workbench up` starts the local stack",
        )

    def _stranger(self, raw: bytes, status: int | None = None) -> Unavailable:
        return Unavailable(
            "the answer is not that of a Workbench server",
            where=self.url,
            found=f"{status or ''} {raw[:80].decode('utf-8', 'replace')}".strip(),
            hint="check the address and what stands between",
        )


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _asked_to_wait(response: httpx.Response) -> float | None:
    """Return how long a server that refused for the rate alone wants us to wait."""
    if response.status_code != _TOO_FAST:
        return None
    said = response.headers.get("Retry-After", "")
    # Many clients are told the same second; they need not all come back in it.
    return (float(said) if said.isdecimal() else 1.0) + random.uniform(0, 0.2)


def _pause(attempt: int, asked: str | None) -> None:
    longest = min(_FIRST_PAUSE_S * 2**attempt, _LONGEST_PAUSE_S)
    wanted = float(asked) if asked and asked.isdigit() else random.uniform(longest / 2, longest)
    time.sleep(min(wanted, _LONGEST_PAUSE_S))
