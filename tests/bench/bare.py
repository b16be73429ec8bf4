"""A bare FastAPI route that reads what it is sent: what HTTP itself takes on this machine.

Run by itself: ``python tests/bench/bare.py``; it says its address on standard output.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import uvicorn
from fastapi import FastAPI
from fastapi.requests import Request  # noqa: TC002 - FastAPI reads it
from fastapi.responses import Response

if TYPE_CHECKING:
    from collections.abc import Iterator

_app = FastAPI()


@_app.api_route("/{path:path}", methods=["GET", "POST", "PATCH"])
async def constant(request: Request) -> Response:
    await request.body()
    return Response(b'{"status":"ok"}', media_type="application/json")


@contextmanager
def serving() -> Iterator[str]:
    """Serve the route in a process of its own; gives its address."""
    with subprocess.Popen([sys.executable, __file__], stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def main() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen(100)
        print(f"http://127.0.0.1:{taken.getsockname()[1]}", flush=True)
        server = uvicorn.Server(uvicorn.Config(_app, log_level="error", access_log=False))
        server.run(sockets=[taken])


if __name__ == "__main__":
    main()
