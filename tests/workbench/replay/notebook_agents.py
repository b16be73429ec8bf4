"""An agent of a notebook: it goes on when a file is there, and then tries to connect by itself."""

import asyncio
import socket
import threading
from pathlib import Path

import workbench as wb

WAITS = threading.Event()
_pause = threading.Event()


@wb.tool
def looked_up(number):
    """Return what belongs to a number."""
    return {"number": number, "square": number * number}


def connect(port):
    """Connect to a server on this machine, which answers nothing."""
    with socket.create_connection(("127.0.0.1", port), 5):
        return "connected"


def is_open(gate):
    """Say, a little later, whether the gate is open."""
    _pause.wait(0.05)
    return gate.exists()


async def agent(given):
    """Look a number up, wait, look another up, and try to connect."""
    found = [looked_up(1)]
    WAITS.set()
    while not await asyncio.to_thread(is_open, Path(given["gate"])):
        pass
    found.append(looked_up(2))
    try:
        found.append(connect(given["port"]))
    except Exception as error:  # noqa: BLE001 - an agent that swallows everything
        found.append(repr(error))
    return found
