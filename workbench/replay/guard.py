"""No new connection and no new process from Python while a replay runs.

One audit hook for the process, installed once and idle between replays. It cannot see a connection
that was open before, nor what a C library does: that is what `isolate=True` is for.
"""

from __future__ import annotations

import functools
import socket
import sys
import threading
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING, Any

from workbench import ours
from workbench.capture import scope
from workbench.errors import LiveCallBlocked

if TYPE_CHECKING:
    from collections.abc import Iterator

_CONNECTING = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg", "socket.bind"})
_RESOLVING = frozenset(
    {
        *("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"),
        "socket.getnameinfo",
    }
)
_STARTING = frozenset(
    {
        *("subprocess.Popen", "os.exec", "os.posix_spawn", "os.system", "os.spawn"),
        *("os.fork", "os.forkpty", "multiprocessing.Process.start"),
    }
)
# whose threads go on talking: the notebook kernel's and Dask's; told by the code that a thread
# runs, since an agent's own may have any name
_FRAMEWORKS = frozenset(
    {"IPython", "debugpy", "distributed", "ipykernel", "jupyter_client", "tornado", "zmq"}
)

_lock = threading.Lock()
_installed = False
_active: list[Any] = []
_replaying: list[int] = []  # the threads that replay: a kernel may run a cell in any of its own


def _hook(event: str, arguments: Any) -> None:
    if not _active or not _refuses(event, arguments):
        return
    if ours.is_running() or _is_framework_s(threading.current_thread()):
        return
    here = scope.current()
    if here is not None and here.in_call and here.session in _active:
        return  # inside of a call that the session lets be made: an answered one runs nothing
    for session in _active:
        session.refused_outside(event, here is not None and here.session is session)
    raise LiveCallBlocked(
        f"{event} was refused while a replay runs",
        found=repr(arguments)[:200],
        hint="a replay answers from its recording: nothing connects anywhere",
    )


def _is_framework_s(thread: threading.Thread) -> bool:
    if thread.ident in _replaying:
        return False
    target = getattr(thread, "_target", None)
    while isinstance(target, functools.partial):
        target = target.func
    module = type(thread).__module__ if target is None else getattr(target, "__module__", None)
    return str(module).partition(".")[0] in _FRAMEWORKS


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
    asked = arguments[0] if arguments else None
    family, kind = getattr(asked, "family", None), getattr(asked, "type", None)
    if family == socket.AF_UNIX:  # a program's log may go on by datagrams
        return event == "socket.connect" and kind == socket.SOCK_STREAM
    return family is not None


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
        _replaying.append(own := threading.get_ident())
    try:
        yield
    finally:
        lift(session)
        _replaying.remove(own)


def lift(session: Any) -> None:
    """End a session's guard, once."""
    with _lock:
        if session in _active:
            _active.remove(session)
