"""Agents that go on only while a file says so, which a test makes and takes away."""

import socket
import threading
from pathlib import Path

import workbench as wb

_pause = threading.Event()


@wb.tool
def looked_up(number):
    """Return what belongs to a number."""
    return {"number": number, "square": number * number}


def slow(gate):
    """Look a few numbers up, the first before the gate opens."""
    found = [looked_up(0)]
    while not Path(gate).exists():
        _pause.wait(0.02)
    return [*found, *(looked_up(number) for number in range(1, 4))]


def other(gate):
    """Do the same in another order."""
    return [looked_up(number) for number in (0, 2, 1, 3)]


@wb.tool(effect="read")
def fetched(port, number):
    """Ask somebody else for a number."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        return {"asked": number, "answer": connection.makefile().readline().strip()}


def outside(given):
    """Ask somebody else, and once more where there is a file that says so."""
    found = [fetched(given["port"], 0)]
    if Path(given["more"]).exists():
        found.append(fetched(given["port"], 1))
    return found


def dying(gate):
    """Take the process along, but where the gate is open."""
    if not Path(gate).exists():
        import os
        import signal

        os.kill(os.getpid(), signal.SIGKILL)
    return slow(gate)
