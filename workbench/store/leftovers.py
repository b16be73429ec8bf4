"""Delivers what recordings left on the disk: those that were killed, or found no server."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from workbench.errors import Unavailable
from workbench.spool import Delivery, Line

if TYPE_CHECKING:
    from workbench.errors import WorkbenchError
    from workbench.spool import Header, Segment, SpoolFolder
    from workbench.store.spooled import Server

_PATIENCE_S = 10.0

log = logging.getLogger("workbench.spool")
_beside = threading.Lock()


@dataclass(slots=True, kw_only=True)
class Flushed:
    """What a flush came to.

    Attributes
    ----------
    runs, events
        How much was delivered.
    stubs
        How many of these events the store would not take for what they are.
    lost
        How many events came after their run had been ended.
    left
        How many events are still here, by the reason why.
    elsewhere
        How many writers' events belong to other workspaces.
    unread
        What is wrong with files that could not be read.
    away
        The server could not be reached in the end: what comes behind does not wait for it again.
    """

    runs: int = 0
    events: int = 0
    stubs: int = 0
    lost: int = 0
    left: dict[str, int] = field(default_factory=dict)
    elsewhere: int = 0
    unread: list[WorkbenchError] = field(default_factory=list)
    away: bool = False


def flush(server: Server, folder: SpoolFolder, *, until: threading.Event | None = None) -> Flushed:
    """Deliver what was left behind for a server's workspace, or some of it ``until`` it is told.

    Raises
    ------
    SpoolFailed
        The folder cannot be read.
    WorkbenchError
        The server does not say whose the key is.
    """
    told = Flushed()
    over = until or threading.Event()
    server.identify()
    for segments in folder.left_behind(told.unread.append):
        if over.is_set():
            _let_go(segments)
            break
        if _belongs(segments[0].header, server):
            _flush_line(Line.taken_over(folder, segments), server, told=told, over=over)
        else:
            told.elsewhere += 1
            _let_go(segments)
    return told


def flush_beside(server: Server, folder: SpoolFolder, *, until: threading.Event) -> None:
    """Deliver what was left behind while a recording goes on; one thread of a process does."""
    if not _beside.acquire(blocking=False):
        return
    try:
        told = flush(server, folder, until=until)
    finally:
        _beside.release()
    if told.events:
        log.info("delivered %d events that earlier recordings had left behind", told.events)


def _belongs(header: Header, server: Server) -> bool:
    if header.workspace is None:
        return header.address == server.address
    return header.workspace == server.workspace_id


def _let_go(segments: list[Segment]) -> None:
    for segment in segments:
        segment.close()


def _flush_line(line: Line, server: Server, *, told: Flushed, over: threading.Event) -> None:
    before = line.waiting
    delivery = Delivery(line, server)
    try:
        _deliver(delivery, over, patience_s=0.0 if told.away else _PATIENCE_S)
    finally:
        line.close()
    left = line.waiting
    told.events += before - left - delivery.lost
    told.runs += before > left
    told.stubs += delivery.stubs
    told.lost += delivery.lost
    if left:
        why = _why(delivery.error)
        told.left[why] = told.left.get(why, 0) + left
        told.away = isinstance(delivery.error, Unavailable)


def _deliver(delivery: Delivery, over: threading.Event, *, patience_s: float) -> None:
    deadline = time.monotonic() + patience_s
    while delivery.line.waiting and not delivery.over and not over.is_set():
        if delivery.step():
            deadline = time.monotonic() + patience_s
        elif time.monotonic() > deadline:
            return
        else:
            over.wait(delivery.pause_s)


def _why(error: WorkbenchError | None) -> str:
    return "nothing moved" if error is None else f"{error.code}: {error.what}"
