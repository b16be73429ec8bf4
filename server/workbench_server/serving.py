"""Serve the app, say one line when it is ready, and stop without losing anything."""

from __future__ import annotations

import asyncio
import gc
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import uvicorn

import workbench
from workbench_server import logs
from workbench_server.app import make_app
from workbench_server.listening import address_of, bind, bind_local
from workbench_server.protocol import Protocol
from workbench_server.stopping import Stop

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

    from fastapi import FastAPI

    from workbench_server.configuration import Configuration

_FINISH_S = 6  # for requests that run when the server is told to stop
_GARBAGE = 20_000  # objects that may be in circles, before any of them is looked at
_TURN_S = 0.0002
_UNWIND_S = 1.0  # for those that did not finish, and are broken off


def serve(
    configuration: Configuration, *, host: str, port: int, local_socket: str | None = None
) -> int:
    """Serve until stopped."""
    logs.configure(configuration.log_level)
    listening = [bind(host, port)]
    if local_socket is not None:
        listening.append(bind_local(local_socket))
    address = address_of(host, listening[0])
    stop = Stop(patience_s=configuration.drain_s + _FINISH_S + 2 * _UNWIND_S)
    with stop.on_signals(), asyncio.Runner(loop_factory=_loop_factory()) as runner:
        app = make_app(configuration)
        runner.run(
            _serve(app, listening, address=address, stop=stop, drain_s=configuration.drain_s)
        )
    return 0


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return uvloop's, which answers faster, where there is one."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


async def _serve(
    app: FastAPI, listening: list[socket.socket], *, address: str, stop: Stop, drain_s: float
) -> None:
    # Not uvicorn's own lifespan: it would log a traceback where one line is due.
    async with app.router.lifespan_context(app):
        server = _Announcing(
            uvicorn.Config(
                app,
                http=Protocol,
                ws="none",
                log_config=None,
                access_log=False,
                lifespan="off",
                server_header=False,
                # A notebook's idle connection must not be closed under its next request.
                timeout_keep_alive=120,
                timeout_graceful_shutdown=_FINISH_S,
            )
        )
        server.address = address
        _settle()
        stopper = asyncio.ensure_future(_stop(app, server, stop, drain_s=drain_s))
        await server.serve(sockets=listening)
        stopper.cancel()
        if server.server_state.tasks:
            await asyncio.wait(server.server_state.tasks, timeout=_UNWIND_S)


def _settle() -> None:
    """Set the interpreter up for requests by the thousand.

    What the start made is left out of every later search for garbage, and a search is rarer: a
    request's parsed JSON is freed when its last name goes. And a thread that compresses beside the
    loop gets its turn at once: it lets go of the interpreter as soon as it has begun.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GARBAGE, 20, 20)
    sys.setswitchinterval(_TURN_S)


async def _stop(app: FastAPI, server: uvicorn.Server, stop: Stop, *, drain_s: float) -> None:
    """Turn requests away, then followers, then stop to listen."""
    await stop.asked()
    app.state.readiness.stop()
    await asyncio.sleep(drain_s)
    app.state.hub.stop()
    server.should_exit = True


class _Announcing(uvicorn.Server):
    address = ""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to `Stop`: uvicorn would raise them again at the end."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            line = f"workbench {workbench.__version__} listening on {self.address}"
            print(line, file=sys.stderr, flush=True)  # noqa: T201 - the line that says: ready
