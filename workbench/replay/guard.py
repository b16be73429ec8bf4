"""No new connection and no new process from Python while a replay runs.

One audit hook for the process, installed once and idle between replays. It cannot see a connection
that was open before, nor what a C library does: that is what `isolate=True` is for.
"""

from __future__ import annotations

import socket
import sys
import threading
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING, Any

from workbench.capture import scope
from workbench.errors import LiveCallBlocked

if TYPE_CHECKING:
    from collections.abc import Iterator

_CONNECTING = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg", "socket.bind"})
_RESOLVING = frozenset({"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"})
_STARTING = frozenset(
    {
        *("subprocess.Popen", "os.exec", "os.posix_spawn", "os.system", "os.spawn"),
        *("os.fork", "os.forkpty", "multiprocessing.Process.start"),
    }
)
_INTERNET = (socket.AF_INET, socket.AF_INET6)
# our own journal, the notebook kernel's and Dask's threads go on talking
_REGISTERED = (
    "workbench-",
    "IPython",
    "IOPub",
    "Heartbeat",
    "Control",
    "Dask-",
    "IO loop",
    "Profile",
)

_lock = threading.Lock()
_installed = False
_active: list[Any] = []


def _hook(event: str, arguments: Any) -> None:
    if not _active or not _refuses(event, arguments):
        return
    if threading.current_thread().name.startswith(_REGISTERED):
        return
    here = scope.current()
    for session in _active:
        session.refused_outside(event, here is not None and here.session is session)
    raise LiveCallBlocked(
        f"{event} was refused while a replay runs",
        found=repr(arguments)[:200],
        hint="a replay answers from its recording: nothing connects anywhere",
    )


def _start(process: BaseProcess) -> None:
    # Some of its ways of starting one tell no audit hook.
    _hook("multiprocessing.Process.start", (process.name,))
    _start_process(process)


_start_process = BaseProcess.start


def _refuses(event: str, arguments: Any) -> bool:
    if event in _STARTING or event in _RESOLVING:
        return True
    if event not in _CONNECTING:
        return False
    return bool(arguments) and getattr(arguments[0], "family", None) in _INTERNET


@contextmanager
def guarded(session: Any) -> Iterator[None]:
    """Refuse new connections and processes until the block ends."""
    global _installed  # noqa: PLW0603 - an audit hook cannot be taken back
    with _lock:
        if not _installed:
            sys.addaudithook(_hook)
            BaseProcess.start = _start  # type: ignore[assignment, method-assign] # idle between replays, as the hook
            _installed = True
        _active.append(session)
    try:
        yield
    finally:
        lift(session)


def lift(session: Any) -> None:
    """End a session's guard, once."""
    with _lock:
        if session in _active:
            _active.remove(session)
