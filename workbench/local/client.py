"""Find the stack of a home, or start it, and hold on to it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from workbench.errors import StackFailed, WorkbenchError
from workbench.local import runtime
from workbench.local.control import SOCKET
from workbench.local.home import is_locked, locked, prepare, read_json
from workbench.local.parts import last_lines
from workbench.local.progress import Progress
from workbench.settings import workspace_name

if TYPE_CHECKING:
    from types import TracebackType

    from workbench.local.home import Home

_IDLE_S = 600.0
_PATIENCE_S = 120.0
_CLEARING_S = 20.0
_RETRY_S = 0.05


class Lease:
    """An open connection to the supervisor; the stack stays while it is open.

    It ends with `close`, or with the process that holds it, however that ends.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lines = connection.makefile("r", encoding="utf-8")
        self.status: dict[str, Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def url(self) -> str:
        return str(self.status["url"])

    def ask(self, request: dict[str, Any]) -> None:
        self._connection.sendall(json.dumps(request).encode() + b"\n")

    def next(self) -> dict[str, Any] | None:
        """Return the next answer, or nothing when the supervisor has ended."""
        try:
            line = self._lines.readline()
        except OSError:
            return None
        return json.loads(line) if line.endswith("\n") else None

    def wait_at_most(self, seconds: float) -> None:
        """Let `next` give up after this time of silence."""
        self._connection.settimeout(seconds)

    def close(self) -> None:
        self._lines.close()
        self._connection.close()


def connected(home: Home) -> Lease | None:
    """Return a connection to the home's supervisor, or nothing where none lives."""
    folder = read_json(home.supervisor).get("runtime")
    # A folder that is not private is not ours: its name may have been taken after a restart.
    if not folder or not runtime.is_private(Path(folder)):
        return None
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(str(Path(folder) / SOCKET))
    except OSError:
        connection.close()
        return None
    return Lease(connection)


def status(home: Home) -> dict[str, Any] | None:
    """Return the state of the home's stack, or nothing where none runs."""
    found = connected(home)
    if found is None:
        return None
    with found, suppress(OSError):
        found.ask({"op": "status"})
        return found.next()
    return None


def lease(
    home: Home, *, port: int | None = None, pin: bool = False, idle_s: float | None = None
) -> Lease:
    """Return a lease on the home's stack, which is started if it does not run.

    Raises
    ------
    HomeUnreadable
        The folder cannot be read or written.
    PortInUse
        The port that was asked for is taken.
    StackFailed
        A part did not come up; the error shows the end of its log.
    """
    prepare(home)
    deadline = time.monotonic() + _PATIENCE_S
    with Progress() as progress:
        while time.monotonic() < deadline:
            found = connected(home) or _started(home, port=port, pin=pin, idle_s=idle_s)
            if found is not None and _is_ready(found, pin=pin, progress=progress):
                return found
            time.sleep(_RETRY_S)
    raise StackFailed(
        "the supervisor does not answer",
        where=str(home.path),
        hint=f"Its log is {home.log('supervisor')}; `workbench down` ends it.",
    )


def _is_ready(found: Lease, *, pin: bool, progress: Progress) -> bool:
    """Follow the start; a stack that ends meanwhile is to be started anew."""
    with suppress(OSError):
        found.ask({"op": "lease", "pin": pin})
        while (told := found.next()) is not None:
            progress.show(str(told["doing"]))
            if told["state"] == "ready":
                found.status = told
                return True
            if told["state"] == "failed":
                _wait_for_end(found)
                raise WorkbenchError.from_problem(told["error"])
            if told["state"] == "stopping":
                break
    found.close()
    return False


def _wait_for_end(found: Lease) -> None:
    """Let a stack that failed clear up, so that the next attempt is a new one."""
    with found:
        found.wait_at_most(_CLEARING_S)
        while found.next() is not None:
            pass


def _started(home: Home, *, port: int | None, pin: bool, idle_s: float | None) -> Lease | None:
    """Start the supervisor unless somebody else just did."""
    with locked(home, name="start.lock", wait=True):
        found = connected(home)
        if found is not None or is_locked(home):
            return found
        command = supervisor_command(home, port=port, pin=pin, idle_s=idle_s, detach=True)
        log = home.log("supervisor")
        log.touch(mode=0o600)
        with log.open("ab") as output:
            ended = subprocess.run(  # noqa: S603 - our own program
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
                check=False,
            )
        if ended.returncode == 0 or is_locked(home):
            return connected(home)
    raise StackFailed(
        "the supervisor did not start",
        where=str(log),
        hint="The last lines were:\n" + last_lines(log),
        part="supervisor",
    )


def supervisor_command(
    home: Home, *, port: int | None, pin: bool, idle_s: float | None, detach: bool
) -> list[str]:
    """Return how the supervisor is run with this Python."""
    options = {
        "home": str(home.path),
        "port": port,
        "pinned": pin,
        "idle_s": _idle_s() if idle_s is None else idle_s,
        "detach": detach,
    }
    return [sys.executable, "-P", "-m", "workbench.local.supervisor", json.dumps(options)]


def _idle_s() -> float:
    """Return the time a stack outlives its last lease; the variable is for tests."""
    try:
        return float(os.environ["WORKBENCH_IDLE_SECONDS"])
    except (KeyError, ValueError):
        return _IDLE_S


def workspace_key(home: Home, *, workspace: str) -> str:
    """Return the API key of a workspace of the running stack, made at first use."""
    workspace = workspace_name(workspace)
    found = connected(home)
    if found is None:
        raise StackFailed("the stack is not up", where=str(home.path), hint="`workbench up`.")
    with found:
        found.ask({"op": "workspace", "name": workspace})
        told = found.next() or {}
    if "key" in told:
        return str(told["key"])
    if "error" in told:
        raise WorkbenchError.from_problem(told["error"])
    raise StackFailed("the supervisor ended before it answered", where=str(home.path))
