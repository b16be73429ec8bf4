"""No new connection and no new process from Python while a replay runs.

One audit hook for the process, installed once and idle between replays. It cannot see a connection
that was open before, nor what a C library does: that is what `isolate=True` is for. A call that a
replay makes live has a permit (`permit`): it and the threads and tasks that it starts may connect,
while all else stays refused.
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

    from workbench.capture.session import Opened

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
_WATCHED = _CONNECTING | _RESOLVING | _STARTING
# whose threads go on talking: the notebook kernel's and Dask's; told by the code that a thread
# runs, since an agent's own may have any name
_FRAMEWORKS = frozenset(
    {"IPython", "debugpy", "distributed", "ipykernel", "jupyter_client", "tornado", "zmq"}
)

_lock = threading.Lock()
_installed = False
_active: list[Any] = []
_replaying: list[int] = []  # the threads that replay: a kernel may run a cell in any of its own
_permitted: dict[str, tuple[Any, str]] = {}  # open live calls: step → session, path of its place


def _hook(event: str, arguments: Any) -> None:
    # nearly all that it is told of is none of it
    if event not in _WATCHED or not _active or not _refuses(event, arguments):
        return
    if ours.is_running() or _is_framework_s(threading.current_thread()):
        return
    here = scope.current()
    if ours.is_asking() if here is None else is_permitted(here):
        return
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
        for step_id in [step for step, (owner, _) in _permitted.items() if owner is session]:
            del _permitted[step_id]


# ---- live calls


def permit(opened: Opened) -> None:
    """Let a call that is made live connect and start processes, until `revoke` ends that.

    What it starts may do so too: threads and tasks that it spawns are in its lane or below it.
    """
    with _lock:
        _permitted[opened.step_id] = (opened.session, opened.place.path)


def revoke(opened: Opened) -> None:
    """End a call's permit, where it has one: what it left running is refused from now on."""
    with _lock:
        _permitted.pop(opened.step_id, None)


def is_permitted(here: scope.Scope) -> bool:
    """Say whether code in a scope belongs to a live call that has not come back yet."""
    if not here.in_call:
        return False
    path = here.place.path
    return any(
        here.session is session and (path == allowed or path.startswith(f"{allowed}/"))
        for session, allowed in list(_permitted.values())
    )
