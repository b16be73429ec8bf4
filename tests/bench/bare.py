"""A bare FastAPI route that answers a constant: what HTTP itself takes on this machine.

Run by itself: ``python tests/bench/bare.py``; it says its address on standard output.
"""

from __future__ import annotations

import socket

import uvicorn
from fastapi import FastAPI
from fastapi.responses import Response

_app = FastAPI()


@_app.api_route("/{path:path}", methods=["GET", "POST", "PATCH"])
async def constant() -> Response:
    return Response(b'{"status":"ok"}', media_type="application/json")


def main() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen(100)
        print(f"http://127.0.0.1:{taken.getsockname()[1]}", flush=True)
        server = uvicorn.Server(uvicorn.Config(_app, log_level="error", access_log=False))
        server.run(sockets=[taken])


if __name__ == "__main__":
    main()
