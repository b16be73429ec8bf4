"""Start a stack that stays, and end it."""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from workbench.errors import PortInUse
from workbench.local import recovery
from workbench.local.client import connected, lease, status, supervisor_command
from workbench.local.home import is_locked, prepare, read_json
from workbench.local.processes import is_alive

if TYPE_CHECKING:
    from collections.abc import Callable

    from workbench.local.home import Home

_PATIENCE_S = 60.0
_GRACE_S = 5.0
_RETRY_S = 0.05


def up(home: Home, *, port: int | None = None) -> dict[str, Any]:
    """Start the stack, or find it, and let it stay until `down`; return its state."""
    _refuse_other_port(home, port)
    with lease(home, port=port, pin=True) as held:
        return held.status


def _refuse_other_port(home: Home, port: int | None) -> None:
    running = status(home) if port is not None else None
    if running and running["port"] not in (None, port):
        raise PortInUse(
            f"the stack runs already, on port {running['port']}",
            where=str(home.path),
            expected=port,
            found=running["port"],
            hint="`workbench down` first, or leave --port out.",
            port=running["port"],
        )


def foreground(home: Home, *, port: int | None = None) -> int:
    """Become the stack's supervisor; returns when the stack has ended."""
    prepare(home)
    _refuse_other_port(home, port)
    command = supervisor_command(home, port=port, pin=True, idle_s=None, detach=False)
    os.execv(sys.executable, command)  # noqa: S606 - our own program


def down(home: Home) -> bool:
    """End the home's stack; says whether one ran.

    A stack that does not answer is ended by its process, and what a killed one left behind is
    ended too.
    """
    left = read_json(home.supervisor)
    ran = is_locked(home)
    if ran:
        # One that has only just begun has no socket yet.
        _wait_until(lambda: _was_asked(home) or not is_locked(home))
        _wait_until(lambda: not is_alive(left))
    ran = recovery.clear(left) or ran
    if read_json(home.supervisor).get("pid") == left.get("pid"):
        home.supervisor.unlink(missing_ok=True)
    return ran


def _wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _GRACE_S
    while not is_so() and time.monotonic() < deadline:
        time.sleep(_RETRY_S)


def _was_asked(home: Home) -> bool:
    """Ask the supervisor to stop and wait for that; false where none answers."""
    found = connected(home)
    if found is None:
        return False
    with found, suppress(OSError):
        found.wait_at_most(_PATIENCE_S)
        found.ask({"op": "stop"})
        while found.next() is not None:
            pass
    return True
