"""Appends to a server's run by way of the disk: nothing waits for the network."""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from workbench import ours
from workbench.errors import (
    AccessError,
    RateLimited,
    RedactionRequired,
    RunClosed,
    SpoolFailed,
    Unavailable,
    WorkbenchError,
)
from workbench.redaction import Wanted
from workbench.spool import Delivery, Destination, Header, Line
from workbench.store import leftovers
from workbench.store.ids import new_run_id
from workbench.store.redacting import redacted_header
from workbench.store.rules import unknown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from workbench.redaction import Layer
    from workbench.schema import Event, RunHeader
    from workbench.spool import SpoolFolder
    from workbench.store.protocol import Body

SYNC_EVERY_S = 1.0
FAILING_S = 1.0  # a server that restarts is back sooner
THREAD_NAME = "workbench-journal-delivery"

log = logging.getLogger("workbench.spool")

_GATHER_S = 0.1
_REFUSED_WITHIN_S = 0.5  # how long whoever begins a run waits to hear that it may not
_LAST_TRY_S = 3.0  # how long whoever ends one waits for what is not delivered yet
_SHORT_PAUSE_S = 0.2
_PASSING = (Unavailable, RateLimited)
_encoder = msgspec.json.Encoder()


class Server(Destination, Protocol):
    """A store that wants to hear from its writers, and says whose it is once it was asked."""

    address: str
    rules: Layer | None

    def ask_rules(self) -> Layer:
        """Ask by which rules the workspace redacts; ``rules`` holds them from then on."""

    @property
    def workspace_id(self) -> str | None:
        """The workspace's id; None where it is not known yet. Nobody is asked."""

    @property
    def workspace_name(self) -> str | None:
        """The workspace's name; None where it is not known yet. Nobody is asked."""

    def identify(self) -> str:
        """Return the workspace's id, and ask for it where it is not known yet."""

    def heartbeat(self, run_id: str) -> dict[str, Any]:
        """Say that a writer of the run is alive."""


class SpooledWriter:
    """Appends to one run; `append` returns when its events are on the disk.

    One thread delivers them; another brings what waits to the disk itself, every ``SYNC_EVERY_S``
    seconds, whatever the network does; a third one, if need be, delivers what others left behind.

    Raises
    ------
    WorkbenchError
        The server answers, and cannot have such a run.
    """

    def __init__(
        self,
        server: Server,
        header: RunHeader,
        *,
        folder: SpoolFolder,
        redact: Wanted | None = None,
    ) -> None:
        known = header if header.run_id else msgspec.structs.replace(header, run_id=new_run_id())
        self.run_id = str(known.run_id)
        self._header, self._server = known, server
        _living.add(self)
        self._redact = redact or Wanted()
        self._telling = threading.Lock()
        self._told: RunHeader | None = None
        self._unknown: Layer | None = None
        self._folder = folder
        self._line: Line | None = None
        self._delivery: Delivery | None = None
        self._declared = False
        self._refused: WorkbenchError | None = None
        self._asked = threading.Event()
        self._wake = threading.Event()
        self._hurry = threading.Event()  # cuts a pause short
        self._closing = threading.Event()
        self._thread = ours.started(self._work, name=THREAD_NAME)
        self._asked.wait(_REFUSED_WITHIN_S)
        # What a key may not do today, another one may: that stays in the spool.
        if self._refused is not None and not isinstance(self._refused, AccessError):
            self._stop()
            raise self._refused
        self._keeper = ours.started(self._keep, name=f"{THREAD_NAME}-disk")

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
        for lines, first, last in _pieces(events, bodies or {}, most=line.piece_bytes):
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
    def spool(self) -> Path:
        """The folder in which its events wait."""
        return self._folder.path

    def handed_on(self) -> dict[str, Any]:
        """Return what another process needs to write to the same run."""
        server = self._server
        header = self._redacted_header()
        return {"run": header, "address": server.address, "workspace": server.workspace_name}

    def for_child(self) -> SpooledWriter:
        """Return a writer to the same run for a process that was forked from this one's."""
        header, folder = self._redacted_header(), self._folder
        return SpooledWriter(self._server, header, folder=folder, redact=self._redact)

    def let_go(self) -> None:
        """Leave its files to the process that this one was forked from."""
        self._telling = threading.Lock()  # whoever held it is not here
        if self._line is not None:
            self._line.let_go()

    @property
    def rules(self) -> Layer:
        """By which rules events are redacted before they are given to `append`."""
        if self._server.rules is not None:
            return self._server.rules
        if self._unknown is None:
            self._unknown = unknown()
        return self._unknown

    def _redacted_header(self) -> RunHeader:
        """Return what is said of the run: once, since it may not be said in two ways."""
        with self._telling:
            if self._told is None:
                self._told = redacted_header(self._header, self._redact.beside(self.rules))
            return self._told

    @property
    def error(self) -> WorkbenchError | None:
        """Why the last attempt to deliver failed; None while all goes well."""
        return self._refused if self._delivery is None else self._delivery.error

    @property
    def failing(self) -> WorkbenchError | None:
        """Why nothing could be delivered for a while; None while all goes well."""
        delivery = self._delivery
        if delivery is None or delivery.failing_since is None:
            return self._refused
        lasted = time.monotonic() - delivery.failing_since
        return delivery.error if delivery.over or lasted > FAILING_S else None

    @property
    def waiting(self) -> int:
        """How many events are on the disk alone."""
        return 0 if self._line is None else self._line.waiting

    @property
    def stubs(self) -> int:
        """How many events gave way to a stub, since the server would not take them."""
        return 0 if self._delivery is None else self._delivery.stubs

    def close(self) -> None:
        """Wait a moment for what is not delivered yet; what stays is in the spool.

        Raises
        ------
        WorkbenchError
            Not all of it could be delivered.
        """
        self._stop()
        # A request under way cannot be broken off: its thread lets go when it is answered.
        self._thread.join(_LAST_TRY_S + _SHORT_PAUSE_S)
        self._keeper.join(_SHORT_PAUSE_S)
        waiting = self.waiting
        lost = 0 if self._delivery is None else self._delivery.lost
        if waiting or lost:
            error = self.error or Unavailable(
                "the server did not take all of the recording in time", where=self._server.address
            )
            error.facts |= {"spooled": waiting, "lost": lost}
            raise error

    def hurry(self) -> None:
        """Ask the server again now, however long ago it failed."""
        self._hurry.set()
        self._wake.set()

    def _stop(self) -> None:
        self._closing.set()
        self.hurry()

    def _begun(self, writer: str) -> Line:
        header = Header(
            run=self._redacted_header(),
            writer=writer,
            address=self._server.address,
            workspace=self._server.workspace_id,
        )
        self._line = Line(self._folder, header)
        self._delivery = Delivery(self._line, self._server, declared=self._declared)
        return self._line

    # ---- the threads behind it

    def _work(self) -> None:
        self._declare()
        if self._declared:
            ours.started(self._deliver_leftovers, name=f"{THREAD_NAME}-leftovers")
        while not self._closing.is_set():
            self._wake.wait()
            self._wake.clear()
            if self._delivery is not None:
                self._hurry.wait(self._delivery.pause_s or _GATHER_S)
                self._hurry.clear()
                self._deliver(self._delivery)
        if self._delivery is not None:
            self._try_once_more(self._delivery)
            _sync(self._delivery.line)
            self._delivery.line.close()

    def _declare(self) -> None:
        """Ask for the run at once: whoever may not record should hear so before the agent runs."""
        try:
            self._server.ask_rules()
            self._server.declare(self._redacted_header())
            self._declared = True
        except (*_PASSING, RedactionRequired):
            pass  # it is asked again with the first events
        except WorkbenchError as error:
            self._refused = error
        except Exception as error:  # noqa: BLE001 - capture never breaks the agent
            log.warning("the run could not be made: %r", error)
        finally:
            self._asked.set()

    def _deliver(self, delivery: Delivery) -> None:
        while not self._closing.is_set() and delivery.step():
            pass
        if delivery.pause_s and not delivery.over:
            self._wake.set()

    def _try_once_more(self, delivery: Delivery) -> None:
        deadline = time.monotonic() + _LAST_TRY_S
        while delivery.line.waiting and not delivery.over and time.monotonic() < deadline:
            if not delivery.step():
                if isinstance(self.failing, Unavailable):
                    return
                time.sleep(min(delivery.pause_s, _SHORT_PAUSE_S) or _GATHER_S)

    def _keep(self) -> None:
        while True:
            with suppress(SpoolFailed):
                self._folder.look()
            if self._closing.wait(SYNC_EVERY_S):
                return
            if self._line is not None:
                _sync(self._line)

    def _deliver_leftovers(self) -> None:
        try:
            leftovers.flush_beside(self._server, self._folder, until=self._closing)
        except Exception as error:  # noqa: BLE001 - the recording goes on, and they stay there
            log.info("what others left behind could not be delivered: %r", error)


_living: weakref.WeakSet[SpooledWriter] = weakref.WeakSet()


def _let_go() -> None:
    for writer in list(_living):
        writer.let_go()


if hasattr(os, "register_at_fork"):
    # A lock on a file outlasts its process while a forked one has the file open, too.
    os.register_at_fork(after_in_child=_let_go)


def _sync(line: Line) -> None:
    # Where it fails, it is in the file all the same, and outlasts this process.
    with suppress(SpoolFailed):
        line.sync()


def _pieces(
    events: Sequence[Event], bodies: Mapping[str, Body], *, most: int
) -> Iterator[tuple[bytes, int, int]]:
    """Yield lines in pieces of a bounded size, with the numbers of their first and last event."""
    if not bodies and sum(len(event.payload) for event in events) < most:
        lines = _encoder.encode_lines(events)  # as a rule, all of it goes together
        if len(lines) <= most:
            yield lines, events[0].writer_seq, events[-1].writer_seq
            return
    parts: list[bytes] = []
    size, first = 0, events[0].writer_seq
    for digest, body in bodies.items():
        parts.append(b'{"bodies":{"%b":%b}}\n' % (digest.encode(), _encoder.encode(body)))
        size += len(parts[-1])
    for event in events:
        line = _encoder.encode(event) + b"\n"
        if size + len(line) > most and event.writer_seq > first:
            yield b"".join(parts), first, event.writer_seq - 1
            parts, size, first = [], 0, event.writer_seq
        parts.append(line)
        size += len(line)
    yield b"".join(parts), first, events[-1].writer_seq
