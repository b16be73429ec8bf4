"""Bind a port, serve the app, say one line when it is ready."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn

import workbench
from workbench.errors import PortInUse, StackFailed
from workbench_server.app import make_app

if TYPE_CHECKING:
    from fastapi import FastAPI

    from workbench_server.configuration import Configuration


def serve(
    configuration: Configuration, *, host: str, port: int, local_socket: str | None = None
) -> int:
    """Serve until stopped."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s %(message)s")
    listening = [bind(host, port)]
    if local_socket is not None:
        listening.append(bind_local(local_socket))
    asyncio.run(_serve(make_app(configuration), listening, address=_address(host, listening[0])))
    return 0


async def _serve(app: FastAPI, listening: list[socket.socket], *, address: str) -> None:
    # Not uvicorn's own lifespan: it would log a traceback where one line is due.
    async with app.router.lifespan_context(app):
        server = _Announcing(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                lifespan="off",
                server_header=False,
                # A notebook's idle connection must not be closed under its next request.
                timeout_keep_alive=120,
                timeout_graceful_shutdown=10,
            )
        )
        server.address = address
        await server.serve(sockets=listening)


def bind(host: str, port: int) -> socket.socket:
    """Take the port, or say that somebody else has it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns Nagle's delay off only where the protocol is named: 40 ms on each answer.
    taken = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        taken.bind((host, port))
        taken.listen(2048)
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
        taken.listen(2048)
    except OSError as error:
        taken.close()
        raise StackFailed("the socket cannot be made", where=path, found=str(error)) from error
    return taken


def _address(host: str, listening: socket.socket) -> str:
    name = f"[{host}]" if ":" in host else host
    return f"http://{name}:{listening.getsockname()[1]}"


class _Announcing(uvicorn.Server):
    address = ""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            line = f"workbench {workbench.__version__} listening on {self.address}"
            print(line, file=sys.stderr, flush=True)  # noqa: T201 - the line that says: ready
