"""Against a server that is not ours: one that fails the way networks and proxies do."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import msgspec
import pytest
import zstandard

from workbench import errors
from workbench.store import connect
from workbench.store.wire import Wire


class Scripted(ThreadingHTTPServer):
    """Answers with one (status, headers, body) after the other; None closes the connection."""

    def __init__(self, *answers):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers = list(answers)
        self.seen = []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    def _answer(self):
        length = int(self.headers.get("Content-Length") or 0)
        self.server.seen.append((self.command, self.headers, self.rfile.read(length)))
        answer = self.server.answers.pop(0)
        if answer is None:
            self.connection.close()
            return
        status, headers, body = answer
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = _answer  # noqa: N815 - the base class's names

    def log_message(self, *arguments):
        pass


@pytest.fixture
def scripted():
    running = []

    def start(*answers):
        server = Scripted(*answers)
        running.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


@pytest.fixture
def wire(request):
    opened = []

    def open_wire(server):
        opened.append(Wire(server.url, "key", timeout_s=5))
        return opened[-1]

    yield open_wire
    for one in opened:
        one.close()


OK = (200, {}, b'{"a": 1}')
PROBLEM = {"Content-Type": "application/problem+json"}


def test_a_busy_server_is_asked_again(scripted, wire):
    server = scripted((503, {"Retry-After": "0"}, b""), (502, {}, b"bad gateway"), OK)

    assert wire(server).get_json("/x") == {"a": 1}
    assert len(server.seen) == 3


def test_a_connection_that_breaks_is_tried_again(scripted, wire):
    server = scripted(None, OK)

    assert wire(server).send_json("POST", "/x", {"b": 2}) == {"a": 1}


def test_a_server_that_stays_busy_is_unavailable(scripted, wire):
    server = scripted(*[(503, {"Retry-After": "0"}, b"<html>down</html>")] * 4)

    with pytest.raises(errors.Unavailable, match="503"):
        wire(server).get_json("/x")


def test_a_large_body_is_compressed_and_a_small_one_is_not(scripted, wire):
    server = scripted(OK, OK)
    open_wire = wire(server)
    large = {"text": "lorem ipsum " * 1000}
    open_wire.send_json("POST", "/x", large)
    open_wire.send_json("POST", "/x", {"a": 1})

    (_, headers, body), (_, plain_headers, plain) = server.seen
    assert headers["Content-Encoding"] == "zstd"
    assert msgspec.json.decode(zstandard.decompress(body)) == large
    assert plain_headers["Content-Encoding"] is None
    assert plain == b'{"a":1}'


@pytest.mark.parametrize("leaf", [errors.SequenceGap, errors.MissingBodies, errors.LimitExceeded])
def test_a_problem_becomes_the_error_it_describes(scripted, wire, leaf):
    said = leaf("what", where="there", expected=3, found=5, hint="do", writer="w")
    server = scripted((409, PROBLEM, msgspec.json.encode(said.as_problem())))

    with pytest.raises(leaf) as raised:
        wire(server).send_json("POST", "/x", {})

    assert str(raised.value) == str(said)
    assert raised.value.facts == {"writer": "w"}


@pytest.mark.parametrize(
    "answer",
    [
        (404, {"Content-Type": "text/html"}, b"<h1>nginx</h1>"),
        (302, {"Location": "http://login/"}, b""),
        (200, {}, b"<html>"),
        (500, {}, b'{"detail": "oops"}'),
        (200, {}, b"[]"),
    ],
)
def test_a_server_that_is_not_ours_is_named(scripted, answer):
    server = scripted(answer)

    with pytest.raises(errors.Unavailable, match=server.url):
        connect(server.url, "key")


def test_a_server_that_knows_no_key_is_an_access_error(scripted):
    server = scripted((200, {}, b'{"status": "ok"}'))

    with pytest.raises(errors.Unauthenticated, match="WORKBENCH_API_KEY"):
        connect(server.url, "key")


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "nonsense", "http://[", "ftp://x"])
def test_an_address_where_nothing_is_says_so(url):
    with pytest.raises(errors.Unavailable) as refused:
        connect(url, "key")

    assert url in str(refused.value)


def test_what_a_spool_sends_to_this_machine_itself_is_not_compressed(scripted, wire):
    server = scripted(OK, OK)
    lines = b'{"a":"lorem ipsum"}\n' * 1000
    wire(server).hasty(timeout_s=5).send_lines("/x", lines)
    elsewhere = Wire(server.url.replace("127.0.0.1", "0.0.0.0"), "key")  # as far as a name tells
    elsewhere.hasty(timeout_s=5).send_lines("/x", lines)
    elsewhere.close()

    (_, plain_headers, plain), (_, headers, body) = server.seen
    assert (plain_headers["Content-Encoding"], plain) == (None, lines)
    assert (headers["Content-Encoding"], zstandard.decompress(body)) == ("zstd", lines)


@pytest.mark.parametrize("answer", [None, (503, {}, b"busy"), (429, {"Retry-After": "9"}, b"")])
def test_what_a_spool_sends_is_sent_once(scripted, wire, answer):
    server = scripted(answer, OK)

    with pytest.raises(errors.Unavailable):
        wire(server).hasty(timeout_s=5).send_lines("/x", b"{}\n")

    assert len(server.seen) == 1
