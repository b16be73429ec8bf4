"""A client cut off in the middle of a batch, or before it read the answer, can send it again."""

from __future__ import annotations

import socket
import struct

import pytest
from plays import Play, end_all
from writers import Line, batch_of

_RESET = struct.pack("ii", 1, 0)  # linger for no time: close() sends a reset, not a FIN


class CutLine(Line):
    """Cuts its connection off at a random byte of a request, or after it, before the answer."""

    def __init__(self, address, api_key, *, rng):
        super().__init__(address, api_key)
        self.rng = rng
        self.cuts = 0

    def send(self, method, path, body=b"", **headers):
        if self.rng.random() < 0.6:
            return super().send(method, path, body, **headers)
        self.close()
        self.cuts += 1
        self._cut(self._request(method, path, body))
        raise ConnectionResetError("cut off by the test")

    def _request(self, method, path, body):
        key = self._headers["Authorization"]
        head = f"{method} /v1{path} HTTP/1.1\r\nHost: x\r\nAuthorization: {key}\r\n"
        if self.rng.random() < 0.5:
            return head.encode() + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        size = self.rng.randint(1, max(len(body) // 2, 1))
        parts = [body[at : at + size] for at in range(0, len(body), size)]
        chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in [*parts])
        return head.encode() + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"

    def _cut(self, request):
        with socket.create_connection(self._address(), timeout=60) as open_:
            if self.rng.random() < 0.5:
                open_.sendall(request[: self.rng.randrange(len(request))])
            else:
                open_.sendall(request)
                self._wait_or_not(open_)
            if self.rng.random() < 0.7:
                open_.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)

    def _wait_or_not(self, open_):
        """Leave at once, while the server works, or when the answer is on its way."""
        match self.rng.randrange(3):
            case 1:
                open_.settimeout(self.rng.uniform(0.0005, 0.02))
                with_answer = 1
            case 2:
                with_answer = self.rng.randint(1, 30)
            case _:
                return
        try:
            open_.recv(with_answer)
        except TimeoutError:
            return


@pytest.fixture(scope="module")
def server(stack):
    return stack.server()


def cutting(play):
    return CutLine(lambda: ("127.0.0.1", play.servers[0].port), play.stack.workspace.api_key,
                   rng=play.rng.__class__(play.rng.getrandbits(64)))  # fmt: skip


def test_a_batch_cut_off_anywhere_is_stored_once(stack, server, rng, turn):
    play = Play(stack=stack, servers=[server], rng=rng)
    for name in ("w0", "w1", "w2"):
        play.add(name, line=cutting(play))
    play.start(0)
    play.reach(rng.random())
    assert play.look() == []
    end_all(play)
    assert sum(writer.line.cuts for writer in play.writers) > 0


def test_a_client_that_numbers_a_lost_batch_anew_is_found_out(stack, server, rng):
    play = Play(stack=stack, servers=[server], rng=rng)
    writer = play.add("w0", total=20)
    made = writer.maker.event(1)
    line = writer.line
    for number in (1, 2):  # the first answer is lost, and the same content goes as another event
        line_of = made.line.replace(b'"writer_seq": 1', b'"writer_seq": %d' % number)
        assert line_of != made.line or number == 1
        status, answer = line.send(
            "POST", f"/runs/{play.run_id}/events",
            b'{"events":[%b],"bodies":{%b}}' % (_unsealed(line_of), _pooled(made)),
        )  # fmt: skip
        assert status == 200, answer
    line.close()
    assert any("the content" in text and "2 times" in text for text in play.look())


def _unsealed(line):
    head, _, tail = line.partition(b', "digest": "')
    return head + tail[tail.index(b'"') + 1 :] if tail else head


def _pooled(made):
    return b",".join(b'"%b":%b' % (d.encode(), raw) for d, raw in made.bodies.items())


def test_half_a_request_is_never_half_stored(stack, server, rng):
    play = Play(stack=stack, servers=[server], rng=rng)
    writer = play.add("w0", total=50, most=50)
    made = [writer.maker.event(number) for number in range(1, 51)]
    body = batch_of(made)
    for at in (0, 1, len(body) // 2, len(body) - 1):
        line = CutLine(lambda: ("127.0.0.1", server.port), stack.workspace.api_key, rng=rng)
        with socket.create_connection(("127.0.0.1", server.port)) as open_:
            head = (
                f"POST /v1/runs/{play.run_id}/events HTTP/1.1\r\nHost: x\r\n"
                f"Authorization: {line._headers['Authorization']}\r\n"
                f"Content-Length: {len(body)}\r\n\r\n"
            )
            open_.sendall(head.encode() + body[:at])
    status, row = writer.line.send("GET", f"/runs/{play.run_id}")
    writer.line.close()
    assert (status, row["events"]) == (200, 0)
