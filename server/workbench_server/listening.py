"""The sockets a server listens at."""

from __future__ import annotations

import errno
import socket
from pathlib import Path

from workbench.errors import PortInUse, StackFailed

_WAITING = 2048


def bind(host: str, port: int) -> socket.socket:
    """Take the port, or say that somebody else has it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns Nagle's delay off only where the protocol is named: 40 ms on each answer.
    taken = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        taken.bind((host, port))
        taken.listen(_WAITING)
    except OSError as error:
        taken.close()
        if error.errno in (errno.EADDRINUSE, errno.EACCES):
            raise PortInUse(
                "another process listens on the port",
                where=f"{host}:{port}",
                hint="Take another with --port, or 0 for a free one.",
            ) from error
        raise StackFailed("the address cannot be bound", where=host, found=str(error)) from error
    return taken


def bind_local(path: str) -> socket.socket:
    """Listen at a path of this machine, also where a killed server left its socket."""
    Path(path).unlink(missing_ok=True)
    taken = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        taken.bind(path)
        taken.listen(_WAITING)
    except OSError as error:
        taken.close()
        raise StackFailed("the socket cannot be made", where=path, found=str(error)) from error
    return taken


def address_of(host: str, listening: socket.socket) -> str:
    """Return how the socket is reached."""
    name = f"[{host}]" if ":" in host else host
    return f"http://{name}:{listening.getsockname()[1]}"
