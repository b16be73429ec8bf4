"""The one process that owns the stack of a home: database, server and worker.

It holds the home's lock, starts the parts, starts them again when they die, answers at its socket,
and ends when it is told to or when nobody has needed the stack for a while.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.errors import StackFailed, WorkbenchError
from workbench.local import recovery, runtime
from workbench.local.control import Desk
from workbench.local.database import has_pending_jobs, workspace_key
from workbench.local.home import Home, locked, prepare, read_json, write_json
from workbench.local.ports import HOST
from workbench.local.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Callable

_TICK_S = 0.5


class Supervisor:
    """See the module; `run` lasts as long as the stack."""

    def __init__(self, home: Home, *, port: int | None, pinned: bool, idle_s: float) -> None:
        self.home = home
        self.wanted_port = port
        self.pinned = pinned
        self.idle_s = idle_s
        self.state = "starting"
        self.doing = "starting"
        self.error: WorkbenchError | None = None
        self.settled = asyncio.Event()
        self.stopping = asyncio.Event()
        self.woken = asyncio.Event()
        self.desk = Desk(self)
        self.stack: Stack | None = None
        self._writing_keys = asyncio.Lock()

    def status(self) -> dict[str, Any]:
        """Return what ``workbench doctor`` and every lease are told; nothing secret."""
        stack = self.stack
        port = stack.port if stack else None
        return {
            "state": self.state,
            "doing": self.doing,
            "home": str(self.home.path),
            "url": f"http://{HOST}:{port}" if port else None,
            "port": port,
            "socket": str(stack.socket) if stack else None,
            "pid": os.getpid(),
            "pinned": self.pinned,
            "leases": len(self.desk.leases),
            "ends_in_s": self._ends_in_s(),
            "parts": {part.name: part.status() for part in stack.parts} if stack else {},
            "error": self.error.as_problem() if self.error else None,
        }

    def _ends_in_s(self) -> float | None:
        if self.pinned or self.desk.leases:
            return None
        return max(0.0, round(self.idle_s - self.desk.idle_s(), 1))

    async def workspace_key(self, name: str) -> str:
        """Return a workspace's key, made at first use, and anew where it was revoked."""
        if self.error is not None or self.stack is None:
            raise self.error or StackFailed("the stack is not up", where=str(self.home.path))
        async with self._writing_keys:
            return await asyncio.to_thread(
                workspace_key, self.stack.addresses.owner, self.home, name=name
            )

    async def run(self, *, on_open: Callable[[], None]) -> int:
        """Start, watch, end."""
        # We hold the lock: whatever a killed supervisor left is nobody else's.
        recovery.clear(read_json(self.home.supervisor))
        folder = runtime.make()
        try:
            self._listen_to_signals()
            self._remember(folder)
            await self.desk.open(folder)
            on_open()
            await self._live(folder)
        finally:
            await self._end(folder)
        return 0 if self.error is None else 3

    async def _live(self, folder: Path) -> None:
        starting = asyncio.create_task(self._start(folder))
        stopping = asyncio.create_task(self.stopping.wait())
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
            with suppress(asyncio.CancelledError):
                await starting
        elif self.error is None:
            await self._watch(folder)
        stopping.cancel()

    async def _start(self, folder: Path) -> None:
        try:
            self.stack = Stack(self.home, folder, wanted_port=self.wanted_port)
            async for doing in self.stack.start():
                self._say(doing)
                self._remember(folder)
        except (WorkbenchError, OSError) as error:
            self.error = error if isinstance(error, WorkbenchError) else _wrapped(error)
            self.state = "failed"
            _log(f"failed: {self.error}")
        else:
            self.state = "ready"
        self._remember(folder)
        self._say("ready" if self.error is None else "failed")
        self.settled.set()

    async def _watch(self, folder: Path) -> None:
        while self.stack is not None and not self.stopping.is_set():
            news = [told for part in self.stack.parts if (told := part.check())]
            for told in news:
                _log(told)
            if await self._is_over():
                return
            if news:
                self._remember(folder)
                self.desk.tell()
            await self._pause()

    async def _pause(self) -> None:
        self.woken.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(self.woken.wait(), _TICK_S)

    async def _is_over(self) -> bool:
        if not self.home.path.joinpath("lock").exists():
            _log("the home is gone")
            return True
        if self.pinned or self.stack is None or self.desk.idle_s() < self.idle_s:
            return False
        if await asyncio.to_thread(has_pending_jobs, self.stack.addresses.owner):
            self.desk.idle_since = time.monotonic() - self.idle_s / 2
            return False
        # A lease may have come while the database was asked.
        return self.desk.idle_s() >= self.idle_s

    async def _end(self, folder: Path) -> None:
        if self.error is None:
            self.state = self.doing = "stopping"
        self.desk.tell()
        if self.stack is not None:
            await asyncio.to_thread(self.stack.end)
        self.home.supervisor.unlink(missing_ok=True)
        await self.desk.close()
        runtime.remove(folder)
        _log("stopped")

    def _listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, self.stop)
        loop.add_signal_handler(signal.SIGCHLD, self.woken.set)

    def stop(self) -> None:
        """End the stack soon."""
        self.stopping.set()
        self.woken.set()

    def _say(self, doing: str) -> None:
        self.doing = doing
        _log(doing)
        self.desk.tell()

    def _remember(self, folder: Path) -> None:
        parts = self.stack.parts if self.stack else []
        cluster = self.stack.cluster if self.stack else None
        others = [cluster.copy] if cluster and cluster.copy else []
        document = recovery.record(pid=os.getpid(), folder=folder, others=others, parts=parts)
        write_json(self.home.supervisor, document)


def _wrapped(error: OSError) -> StackFailed:
    return StackFailed(
        f"the stack could not start: {error.strerror or error}",
        where=str(error.filename) if error.filename else None,
    )


def _log(line: str) -> None:
    moment = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
    print(f"{moment} {line}", file=sys.stderr, flush=True)  # noqa: T201 - standard error is the log


def main(arguments: list[str]) -> int:
    """Run the supervisor that a starter asked for, with its options as one JSON document."""
    options = json.loads(arguments[0])
    home = Home(path=Path(options["home"]))
    opened = _detached() if options["detach"] else None
    os.umask(0o077)
    prepare(home)
    with locked(home, name="lock", wait=False) as free:
        if not free:
            _log("another supervisor holds this home")
            return 3
        supervisor = Supervisor(
            home, port=options["port"], pinned=options["pinned"], idle_s=options["idle_s"]
        )
        return asyncio.run(supervisor.run(on_open=opened or (lambda: None)))


def _detached() -> Callable[[], None]:
    """Leave the starter's process tree; the starter goes on when the socket is open."""
    reading, writing = os.pipe()
    if os.fork():
        os.close(writing)
        # Empty: the child ended first, and its log says why.
        os._exit(0 if os.read(reading, 1) else 1)
    os.close(reading)
    os.setsid()

    def opened() -> None:
        os.write(writing, b"1")
        os.close(writing)

    return opened


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
