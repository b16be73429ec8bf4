"""A run in several processes: each child is a writer of its own, and the parent ends the run.

A forked process becomes a writer when it has something to say, in the lane that the fork was given.
What its parent had not written yet stays the parent's.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any

from workbench.capture import scope as scopes
from workbench.capture.journal import Journal
from workbench.errors import WorkbenchError
from workbench.spool.writers import Presence, beside

if TYPE_CHECKING:
    from workbench.capture.session import Session
    from workbench.redaction import Wanted

log = logging.getLogger("workbench.capture")

# a child writes neither: there is one beginning and one end
_OF_THE_RUN = frozenset({"run_started", "run_ended"})
_ONE_WRITER = "it is another process, and this store takes events from one"


class ChildJournal(Journal):
    """The journal of a process beside the one that ends the run, which hears how far it got."""

    def __init__(self, sink: Any, *, lane: str, redact: Wanted | None = None) -> None:
        super().__init__(sink, redact=redact)
        self._presence = Presence(sink.spool, run_id=sink.run_id, writer=self.writer, lane=lane)
        _present.add(self._presence)
        self.ends_quietly()
        _joined.add(self)
        _close_at_exit()

    def put(self, event_type: str, **fields: Any) -> None:
        """Take an event that happens now."""
        if event_type not in _OF_THE_RUN:
            super().put(event_type, **fields)

    def close(self) -> None:
        """Write what is left, and say how far that is."""
        super().close()
        _joined.discard(self)
        if not self.alive:
            self._presence.end(self.numbered)


class _Unbegun:
    """Stands for a forked process's journal until it has something to write."""

    error = None
    spooled = dropped = stubs = unsent = 0
    ended = cancelled = alive = False

    def __init__(self, session: Session, former: Any, lane: str | None) -> None:
        self._session, self._former, self._lane = session, former, lane
        self.run_id = former.run_id

    def close(self) -> None:
        """Nothing was written."""

    check = settle = hold = close

    def put(self, event_type: str, **fields: Any) -> None:
        """Take the first event, unless it is the parent's to write."""
        if event_type not in _OF_THE_RUN:
            self._begun().put(event_type, **fields)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._begun(), name)

    def _begun(self) -> Any:
        with self._session.lock:
            session: Any = self._session
            if session.journal is self:
                session.journal = _Nowhere(self._former)
                if self._lane is not None:
                    self._join(session, self._lane)
        return session.journal

    def _join(self, session: Any, lane: str) -> None:
        try:
            sink = self._former.sink.for_child()
            redact = self._former.redaction.wanted
            session.journal = ChildJournal(sink, lane=lane, redact=redact)
        except WorkbenchError as error:  # capture never breaks the agent
            log.warning("this process is not recorded: %s", error)


class _Nowhere:
    """Stands for a journal whose store takes no other writer: the parent has said so."""

    error = sink = None
    spooled = dropped = stubs = unsent = 0
    ended = cancelled = alive = False

    def __init__(self, former: Any) -> None:
        self.run_id, self.writer = former.run_id, former.writer

    def close(self) -> None:
        """Nothing was written."""

    check = settle = hold = close

    def put(self, event_type: str, **fields: Any) -> None:
        """Nothing is kept."""

    def take(self, *_: Any) -> None:
        """Nothing is kept."""

    def step_id(self) -> str:
        """Return an id that nobody reads."""
        return "unrecorded"


# ---- what is handed on


def take_lane(here: scopes.Scope) -> scopes.Place | None:
    """Return the lane of a process that is begun now; None, and a gap, where none can be."""
    place = scopes.standing(here).child()
    session = here.session
    if session.replaying:
        return None
    if not hasattr(session.journal.sink, "for_child"):
        session.gap("process", place.path, reason=_ONE_WRITER)
        return None
    session.has_children = True
    return place


def tell_of_children(session: Session) -> None:
    """Let the run's end name the other writers, and say what is not known of them."""
    if not session.has_children:
        return
    sink: Any = session.journal.sink
    found = beside(sink.spool, sink.run_id)
    for one in found:
        if one.alive:
            session.gap("process", one.lane, reason="it went on when the run had ended")
        elif not one.said:
            session.gap("process", one.lane, reason="it ended without saying how far it had got")
    for lane in session.handed_on - {one.lane for one in found}:
        session.gap("process", lane, reason="no process joined with the context made for it")
    ended = {one.writer: one.last for one in found if one.last is not None and not one.alive}
    session.journal.writers_beside = ended


# ---- forks

_sessions: weakref.WeakSet[Session] = weakref.WeakSet()
_present: weakref.WeakSet[Presence] = weakref.WeakSet()


class _Forking(threading.local):
    at: tuple[scopes.Scope, scopes.Place, scopes.Place | None] | None = None


_forking = _Forking()


def watch(session: Session) -> None:
    """Let a session go on in processes that are forked while it lasts."""
    _sessions.add(session)


def _before() -> None:
    here = scopes.current()
    _forking.at = None
    if here is not None and not here.in_call:
        _forking.at = here, scopes.standing(here), take_lane(here)


def _in_child() -> None:
    at, _forking.at = _forking.at, None
    for presence in list(_present):
        presence.let_go()
    here, place, lane = at or (None, None, None)
    sessions: list[Any] = list(_sessions)
    for session in sessions:
        ours = here is not None and session is here.session and lane is not None
        session.lock = session.visits.lock = threading.RLock()
        session.is_child = True
        session.journal = _Unbegun(session, session.journal, lane.path if ours and lane else None)
    if here is not None and place is not None and lane is not None:
        here.in_root = True
        place.begin_in(lane)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_child=_in_child)


_joined: weakref.WeakSet[ChildJournal] = weakref.WeakSet()


@atexit.register
def _close_joined() -> None:
    for journal in list(_joined):
        journal.close()


def _close_at_exit() -> None:
    """Close what is open when this process ends also where multiprocessing ends it otherwise."""
    util = sys.modules.get("multiprocessing.util")
    if util is not None and _ending.pid != os.getpid():
        _ending.pid = os.getpid()
        util.Finalize(None, _close_joined, exitpriority=100)


class _Ending:
    pid = 0  # of the process that was told


_ending = _Ending()
