"""Clients that only send: prebuilt requests over sockets of their own, in processes of their own.

The sender shares the machine with the server it measures, so it does as little as can be done.
"""

from __future__ import annotations

import multiprocessing as mp
import socket
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

_CONTEXT = mp.get_context("spawn")


@dataclass(frozen=True, kw_only=True)
class Sent:
    """What one client saw: when it began and ended, and how long each answer took, in seconds."""

    began: float
    ended: float
    waits: list[float]


def request(stack, path: str, body: bytes) -> bytes:
    """Return a POST as bytes."""
    head = (
        f"POST /v1{path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {stack.api_key}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def send(url: str, requests: list[bytes], ready, go, answers) -> None:
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port)) as line:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        ready.put(True)
        go.wait()
        waits, began = [], time.monotonic()
        for one in requests:
            at = time.monotonic()
            line.sendall(one)
            _read_answer(line)
            waits.append(time.monotonic() - at)
        answers.put(Sent(began=began, ended=time.monotonic(), waits=waits))


def _read_answer(line: socket.socket) -> None:
    data = line.recv(65536)
    while b"\r\n\r\n" not in data:
        data += line.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"refused: {data[:2000]!r}")
    length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
    while len(body) < length:
        body += line.recv(65536)


def together(url: str, jobs: list[list[bytes]]) -> list[Sent]:
    """Send each list of requests by a process of its own, all at once."""
    ready, answers, go = _CONTEXT.Queue(), _CONTEXT.Queue(), _CONTEXT.Event()
    clients = [
        _CONTEXT.Process(target=send, args=(url, job, ready, go, answers), daemon=True)
        for job in jobs
    ]
    for client in clients:
        client.start()
    for _ in clients:
        ready.get(timeout=60)
    go.set()
    sent = [answers.get(timeout=600) for _ in clients]
    for client in clients:
        client.join()
    return sent


def rate(sent: list[Sent], *, events: int) -> float:
    """Return events a second from the first request to the last answer."""
    return events / (max(s.ended for s in sent) - min(s.began for s in sent))
