"""The supervisor's socket: one JSON line asks, JSON lines answer.

``{"op": "lease", "pin": bool}``
    Each change of the stack's state, until the asker hangs up. While such a connection is open the
    stack stays; ``pin`` makes it stay for good.
``{"op": "status"}``
    The state once.
``{"op": "workspace", "name": …}``
    ``{"key": …}`` or ``{"error": …}``, once the stack is ready.
``{"op": "stop"}``
    Nothing; the connection ends when the stack has.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any, Protocol, cast

from workbench.errors import UsageError, WorkbenchError

if TYPE_CHECKING:
    from pathlib import Path

SOCKET = "control.sock"


class Supervised(Protocol):
    """What the socket shows and asks of the supervisor."""

    settled: asyncio.Event
    pinned: bool

    def stop(self) -> None: ...
    def status(self) -> dict[str, Any]: ...
    async def workspace_key(self, name: str) -> str: ...


class Desk:
    """Answers at the socket and counts the leases."""

    def __init__(self, stack: Supervised) -> None:
        self.stack = stack
        self.leases: set[asyncio.StreamWriter] = set()
        self.idle_since = time.monotonic()
        self._server: asyncio.Server | None = None
        self._open: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def open(self, folder: Path) -> None:
        self._server = await asyncio.start_unix_server(self._answer, folder / SOCKET)
        (folder / SOCKET).chmod(0o600)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for writer in self._open.values():
            writer.close()
        await asyncio.gather(*self._open, return_exceptions=True)

    def tell(self) -> None:
        """Send the state to everybody who holds a lease."""
        for writer in self.leases:
            _send(writer, self.stack.status())

    def idle_s(self) -> float:
        """Return for how long nobody has held a lease."""
        return 0.0 if self.leases else time.monotonic() - self.idle_since

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = cast("asyncio.Task[None]", asyncio.current_task())
        self._open[task] = writer
        try:
            request = json.loads(await reader.readline() or "{}")
            await self._do(request, reader, writer)
        except (ConnectionError, ValueError):
            pass  # The asker went away or spoke something else; there is nobody to tell.
        finally:
            del self._open[task]
            writer.close()

    async def _do(
        self, request: dict[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        match request.get("op"):
            case "lease":
                await self._lease(reader, writer, pin=bool(request.get("pin")))
            case "status":
                _send(writer, self.stack.status())
            case "workspace":
                _send(writer, await self._workspace(str(request.get("name"))))
            case "stop":
                self.stack.stop()
                await reader.read()
            case unknown:
                problem = UsageError("the supervisor does not know this request", found=unknown)
                _send(writer, {"error": problem.as_problem()})

    async def _lease(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, pin: bool
    ) -> None:
        self.stack.pinned = self.stack.pinned or pin
        self.leases.add(writer)
        _send(writer, self.stack.status())
        try:
            await reader.read()
        finally:
            self.leases.discard(writer)
            self.idle_since = time.monotonic()

    async def _workspace(self, name: str) -> dict[str, Any]:
        try:
            await self.stack.settled.wait()
            return {"key": await self.stack.workspace_key(name)}
        except WorkbenchError as error:
            return {"error": error.as_problem()}


def _send(writer: asyncio.StreamWriter, document: dict[str, Any]) -> None:
    if not writer.is_closing():
        writer.write(json.dumps(document, default=str).encode() + b"\n")
