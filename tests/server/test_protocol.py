"""Connections whose requests do not come: none of them is kept for ever."""

import asyncio
import json

import pytest
import uvicorn
from uvicorn.server import ServerState
from workbench_server import protocol
from workbench_server.app import make_app
from workbench_server.configuration import Configuration
from workbench_server.protocol import Protocol

WHOLE = b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n"


def told(monkeypatch, *parts, patience_s=0.2):
    """What a connection says to these bytes until it is closed."""
    monkeypatch.setattr(protocol, "_HEAD_S", patience_s)
    nothing = dict.fromkeys(("database_url", "worker_database_url", "bench_database_url"))
    app = make_app(Configuration(**nothing, app_database_url="x", storage_url="x"))
    config = uvicorn.Config(app, http=Protocol, ws="none", lifespan="off", log_config=None)

    async def talk():
        loop, state = asyncio.get_running_loop(), ServerState()
        serving = await loop.create_server(lambda: Protocol(config, state, {}), "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*serving.sockets[0].getsockname())
        said = b""
        for part in parts:
            writer.write(part)
            if part.endswith(b"\r\n\r\n"):
                said += await reader.readuntil(b"\r\n\r\n")
        async with asyncio.timeout(30):
            said += await reader.read()
        writer.close()
        serving.close()
        return said

    return asyncio.run(talk())


@pytest.mark.parametrize("parts", [(b"GET /v1/he",), (WHOLE, b"GET /v1/he")])
def test_a_head_that_does_not_end_is_answered_and_given_up(monkeypatch, parts):
    *_, head, body = told(monkeypatch, *parts).split(b"\r\n\r\n")
    problem = json.loads(body)
    assert b"HTTP/1.1 408 Request Timeout\r\n" in head + b"\r\n"
    assert (problem["status"], problem["code"]) == (408, "usage_error")
    assert problem["details"]["hint"]


def test_a_connection_that_says_nothing_is_closed(monkeypatch):
    assert told(monkeypatch) == b""
