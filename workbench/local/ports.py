"""The server's port on the loopback interface."""

from __future__ import annotations

import errno
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

from workbench.errors import PortInUse, StackFailed
from workbench.local.processes import holder_of

if TYPE_CHECKING:
    from workbench.local.home import Home

HOST = "127.0.0.1"


def chosen(home: Home, *, wanted: int | None) -> int:
    """Return the wanted port or say who has it; else the last one, else a free one."""
    if wanted is not None:
        _refuse_taken(wanted)
        return wanted
    with suppress(OSError, ValueError):
        last = int(home.port.read_text())
        if _bind_error(last) is None:
            return last
    return _free()


def _refuse_taken(port: int) -> None:
    error = _bind_error(port)
    if error is None:
        return
    holder = holder_of(port) if error.errno == errno.EADDRINUSE else None
    raise PortInUse(
        f"port {port} cannot be used: {error.strerror}",
        where=f"{HOST}:{port}",
        found=holder,
        expected="a free port" if holder else None,
        hint="Leave --port out to get a free one, or name another.",
        port=port,
    )


def _bind_error(port: int) -> OSError | None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As the server binds: a port whose last connections linger is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            return error
        except OverflowError:
            return OSError(errno.EINVAL, "not a port number")
    return None


def is_free(port: int) -> bool:
    """Say whether a server could listen on the port."""
    return _bind_error(port) is None


def _free() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((HOST, 0))
        except OSError as error:
            raise StackFailed(
                "the loopback interface cannot be used",
                where=HOST,
                found=error.strerror,
                expected="an interface that is up",
                hint="Without a network: `ip link set lo up`.",
            ) from error
        return int(probe.getsockname()[1])
