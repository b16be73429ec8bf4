"""Agents that try to get outside while they are replayed, each in its way; importable by a child.

What they are asked is ``{"way": one of WAYS, "port": …, "path": …}`` of a server on this machine. What happens
when they try is nothing to them, so their recordings and replays are alike.
"""

import _socket
import ctypes
import socket
import struct
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import psycopg
from replay_agents import ask

PATH = ""
HELD = []
"""Connections that stay open between a recording and its replay in one process."""

_CONNECT = (
    "import socket, sys; socket.create_connection(('127.0.0.1', int(sys.argv[1])), 2).send(b'x')"
)


def fresh(port):
    with socket.create_connection(("127.0.0.1", port), 2) as made:
        made.sendall(b"x")


def below(port):
    made = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
    made.connect(("127.0.0.1", port))
    made.send(b"x")
    made.close()


def thread(port):
    def work():
        with suppress(BaseException):
            fresh(port)

    made = threading.Thread(target=work)
    made.start()
    made.join()


def executor(port):
    with ThreadPoolExecutor(1) as pool:
        pool.submit(fresh, port).result()


def process(port):
    subprocess.run([sys.executable, "-c", _CONNECT, str(port)], check=True, timeout=20)


def kept(port):
    if not HELD:
        HELD.append(socket.create_connection(("127.0.0.1", port), 2))
    HELD[0].sendall(b"x")


def libpq(port):
    psycopg.connect(f"hostaddr=127.0.0.1 port={port} connect_timeout=2 user=nobody").close()


def path(port):
    with socket.socket(socket.AF_UNIX) as made:
        made.connect(PATH)
        made.sendall(b"x")


def native_path(port):
    c = ctypes.CDLL(None)
    made = c.socket(1, 1, 0)
    address = struct.pack("=H", 1) + PATH.encode() + b"\0"
    c.connect(made, address, len(address))
    c.send(made, b"x", 1, 0)
    c.close(made)


def native(port):
    c = ctypes.CDLL(None)
    made = c.socket(2, 1, 0)
    address = struct.pack("=H", 2) + struct.pack("!H", port) + bytes([127, 0, 0, 1]) + bytes(8)
    c.connect(made, address, len(address))
    c.send(made, b"x", 1, 0)
    c.close(made)


SEEN = {
    "fresh": fresh,
    "below": below,
    "thread": thread,
    "executor": executor,
    "process": process,
    "path": path,
}
UNSEEN = {"kept": kept, "libpq": libpq, "native": native, "native path": native_path}
WAYS = {**SEEN, **UNSEEN}


def agent(given):
    """Ask, try to get outside, and ask again."""
    first = ask("one")
    with suppress(Exception):
        globals()["PATH"] = given["path"]
        WAYS[given["way"]](given["port"])
    return [first, ask("two")]
