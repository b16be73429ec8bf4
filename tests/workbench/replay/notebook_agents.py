"""Agents of a notebook: they go on when a file is there, and then try to connect by themselves."""

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


def compute(gate):
    """Count until the gate is open."""
    while not gate.exists():
        sum(range(10_000))


def begun():
    """Look a number up, and say so."""
    found = [looked_up(1)]
    print(f"looked up {found[0]['square']}")
    WAITS.set()
    return found


def ended(found, given):
    """Look another number up, and try to connect."""
    found.append(looked_up(2))
    try:
        found.append(connect(given["port"]))
    except Exception as error:  # noqa: BLE001 - an agent that swallows everything
        found.append(repr(error))
    return found


async def awaiting(given):
    """Wait as a coroutine should."""
    found = begun()
    while not await asyncio.to_thread(is_open, Path(given["gate"])):
        pass
    return ended(found, given)


async def computing(given):
    """Compute between its calls, and hold its loop with that."""
    found = begun()
    compute(Path(given["gate"]))
    return ended(found, given)


def plain(given):
    """Wait in a plain function."""
    found = begun()
    while not is_open(Path(given["gate"])):
        pass
    return ended(found, given)
