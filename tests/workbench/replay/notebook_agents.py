"""An agent of a notebook: it goes on when a test lets it, and then tries to connect by itself."""

import asyncio
import socket
import threading

import workbench as wb

GATE = threading.Event()
WAITS = threading.Event()


@wb.tool
def looked_up(number):
    """Return what belongs to a number."""
    return {"number": number, "square": number * number}


def connect(port):
    """Connect to a server on this machine, which answers nothing."""
    with socket.create_connection(("127.0.0.1", port), 5):
        return "connected"


async def agent(port):
    """Look a number up, wait, look another up, and try to connect."""
    found = [looked_up(1)]
    WAITS.set()
    while not GATE.is_set():
        await asyncio.to_thread(GATE.wait, 0.05)
    found.append(looked_up(2))
    try:
        found.append(connect(port))
    except Exception as error:  # noqa: BLE001 - an agent that swallows everything
        found.append(repr(error))
    return found
