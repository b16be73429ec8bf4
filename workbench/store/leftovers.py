"""Delivers what recordings left on the disk: those that were killed, or found no server."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from workbench.spool import Delivery, Line

if TYPE_CHECKING:
    from workbench.errors import WorkbenchError
    from workbench.spool import Header, Segment, SpoolFolder
    from workbench.store.spooled import Server

_PATIENCE_S = 10.0


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
    """

    runs: int = 0
    events: int = 0
    stubs: int = 0
    lost: int = 0
    left: dict[str, int] = field(default_factory=dict)
    elsewhere: int = 0


def flush(server: Server, folder: SpoolFolder) -> Flushed:
    """Deliver what was left behind for a server's workspace."""
    told = Flushed()
    for segments in folder.left_behind():
        if not _belongs(segments[0].header, server):
            told.elsewhere += 1
            _let_go(segments)
            continue
        line = Line.taken_over(folder, segments)
        try:
            _deliver(line, server, told)
        finally:
            line.close()
    return told


def _belongs(header: Header, server: Server) -> bool:
    if header.workspace is None:
        return header.address == server.address
    return header.workspace == server.workspace_id


def _let_go(segments: list[Segment]) -> None:
    for segment in segments:
        segment.close()


def _deliver(line: Line, server: Server, told: Flushed) -> None:
    before = line.waiting
    delivery = Delivery(line, server)
    deadline = time.monotonic() + _PATIENCE_S
    while line.waiting and not delivery.over:
        if delivery.step():
            deadline = time.monotonic() + _PATIENCE_S
        elif time.monotonic() > deadline:
            break
        else:
            time.sleep(delivery.pause_s)
    told.events += before - line.waiting - delivery.lost
    told.runs += before > line.waiting
    told.stubs += delivery.stubs
    told.lost += delivery.lost
    if line.waiting:
        why = _why(delivery.error)
        told.left[why] = told.left.get(why, 0) + line.waiting


def _why(error: WorkbenchError | None) -> str:
    return "nothing moved" if error is None else f"{error.code}: {error.what}"
