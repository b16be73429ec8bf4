"""Appends to a server's run by way of the disk: nothing waits for the network."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from workbench.errors import RateLimited, RunClosed, SpoolFailed, Unavailable, WorkbenchError
from workbench.spool import Delivery, Destination, Header, Line
from workbench.spool.line import PIECE_BYTES
from workbench.store.ids import new_run_id

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from workbench.schema import Event, RunHeader
    from workbench.spool import SpoolFolder
    from workbench.store.protocol import Body

SYNC_EVERY_S = 1.0
FAILING_S = 1.0  # a server that restarts is back sooner
# the guard of a replay knows our own threads by this prefix
THREAD_NAME = "workbench-journal-delivery"

_GATHER_S = 0.02
_REFUSED_WITHIN_S = 0.5  # how long whoever begins a run waits to hear that it may not
_LAST_TRY_S = 5.0
_PASSING = (Unavailable, RateLimited)
_encoder = msgspec.json.Encoder()


class Server(Destination, Protocol):
    """A store that wants to hear from its writers."""

    address: str
    workspace_id: str

    def heartbeat(self, run_id: str) -> dict[str, Any]:
        """Say that a writer of the run is alive."""


class SpooledWriter:
    """Appends to one run; `append` returns when its events are on the disk.

    Raises
    ------
    WorkbenchError
        The server answers, and will not have the run.
    """

    def __init__(self, server: Server, header: RunHeader, *, folder: SpoolFolder) -> None:
        known = header if header.run_id else msgspec.structs.replace(header, run_id=new_run_id())
        self.run_id = str(known.run_id)
        self._header, self._server = known, server
        self._folder = folder
        self._line: Line | None = None
        self._delivery: Delivery | None = None
        self._refused: WorkbenchError | None = None
        self._asked = threading.Event()
        self._wake = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._work, name=THREAD_NAME, daemon=True)
        self._thread.start()
        self._asked.wait(_REFUSED_WITHIN_S)
        if self._refused is not None:
            raise self._refused

    def append(self, events: Sequence[Event], bodies: Mapping[str, Body] | None = None) -> None:
        """Add events, and the message bodies they are the first to name.

        Raises
        ------
        SpoolFailed
            The disk did not take all of them; ``stored`` says how many of them are there.
        RunClosed
            The server ended the run.
        """
        if isinstance(self.error, RunClosed):
            raise self.error
        line = self._line or self._begun(events[0].writer)
        stored = 0
        for lines, first, last in _pieces(events, bodies or {}):
            try:
                line.append(lines, first=first, last=last)
            except SpoolFailed as error:
                error.facts["stored"] = stored
                raise
            stored += last - first + 1
        self._wake.set()

    def heartbeat(self) -> dict[str, Any]:
        """Say that the writer is alive."""
        return self._server.heartbeat(self.run_id)

    @property
    def error(self) -> WorkbenchError | None:
        """Why the last attempt to deliver failed; None while all goes well."""
        return None if self._delivery is None else self._delivery.error

    @property
    def failing(self) -> WorkbenchError | None:
        """Why nothing could be delivered for a while; None while all goes well."""
        delivery = self._delivery
        if delivery is None or delivery.failing_since is None:
            return None
        lasted = time.monotonic() - delivery.failing_since
        return delivery.error if delivery.over or lasted > FAILING_S else None

    @property
    def waiting(self) -> int:
        """How many events are on the disk alone."""
        return 0 if self._line is None else self._line.waiting

    def close(self) -> None:
        """Wait a moment for what is not delivered yet; what stays is in the spool.

        Raises
        ------
        WorkbenchError
            Not all of it could be delivered.
        """
        self._closing = True
        self._wake.set()
        self._thread.join()
        waiting, error = self.waiting, self.error
        if self._line is not None:
            self._line.close()
        lost = 0 if self._delivery is None else self._delivery.lost
        if error is not None and (waiting or lost):
            error.facts |= {"spooled": waiting, "lost": lost}
            raise error

    def _begun(self, writer: str) -> Line:
        header = Header(
            run=self._header,
            writer=writer,
            address=self._server.address,
            workspace=self._server.workspace_id,
        )
        self._line = Line(self._folder, header)
        self._delivery = Delivery(self._line, self._server)
        return self._line

    # ---- the thread that delivers

    def _work(self) -> None:
        self._declare()
        synced_at = time.monotonic()
        while not self._closing:
            self._wake.wait(timeout=SYNC_EVERY_S)
            self._wake.clear()
            delivery = self._delivery
            if delivery is None or self._closing:
                continue
            time.sleep(delivery.pause_s or _GATHER_S)
            while delivery.step():
                pass
            if time.monotonic() - synced_at >= SYNC_EVERY_S:
                _sync(delivery.line)
                synced_at = time.monotonic()
            if delivery.pause_s:
                self._wake.set()
        if self._delivery is not None:
            _try_once_more(self._delivery)
            _sync(self._delivery.line)

    def _declare(self) -> None:
        """Ask for the run at once: whoever may not record should hear so before the agent runs."""
        try:
            self._server.declare(self._header)
        except _PASSING:
            pass  # it is asked again with the first events
        except WorkbenchError as error:
            self._refused = error
        finally:
            self._asked.set()


def _try_once_more(delivery: Delivery) -> None:
    deadline = time.monotonic() + _LAST_TRY_S
    while delivery.line.waiting and not delivery.over:
        if not delivery.step():
            if time.monotonic() > deadline:
                return
            time.sleep(delivery.pause_s)


def _sync(line: Line) -> None:
    # Where it fails, it is in the file all the same, and outlasts this process.
    with suppress(SpoolFailed):
        line.sync()


def _pieces(
    events: Sequence[Event], bodies: Mapping[str, Body]
) -> Iterator[tuple[bytes, int, int]]:
    """Yield lines in pieces of a bounded size, with the numbers of their first and last event."""
    parts: list[bytes] = []
    size, first = 0, events[0].writer_seq
    for digest, body in bodies.items():
        parts.append(b'{"bodies":{"%b":%b}}\n' % (digest.encode(), _encoder.encode(body)))
        size += len(parts[-1])
    for event in events:
        line = _encoder.encode(event) + b"\n"
        if size + len(line) > PIECE_BYTES and event.writer_seq > first:
            yield b"".join(parts), first, event.writer_seq - 1
            parts, size, first = [], 0, event.writer_seq
        parts.append(line)
        size += len(line)
    yield b"".join(parts), first, events[-1].writer_seq
