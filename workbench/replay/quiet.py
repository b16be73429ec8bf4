"""Tells whether other threads and event loops go on, or wait for something.

Nothing tells that of a thread, so it is looked at: where its innermost frame is, and whether it
had the processor meanwhile (Linux says so). Whoever waits in Python's own waiting (a lock's
condition, a queue, a selector) is believed soon; whoever seems to stand still in other code, later.
"""

from __future__ import annotations

import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.capture import scope as scopes

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Collection, Iterable, Mapping
    from types import FrameType

    from workbench.capture.session import Session

    # of a thread: its innermost frame, the place in it, and its time on the processor
    Look = tuple[int, int, str] | None

_WAITING = frozenset({"threading", "queue", "selectors", "concurrent.futures._base"})
_RUNS = "runs"
_IDLE = ("concurrent.futures.thread", "_worker")
_SOON, _LATER = 3, 10  # looks without a change
_SOON_S, _PAUSE_S, _LATER_S = 0.0005, 0.005, 0.05
_MOST_S = 5.0  # that somebody may be busy without any call
_BESIDE_S = 0.05  # that others than who was answered may be
_ROUNDS = 100  # of a loop whose tasks keep each other awake
_ROUNDS_UNSEEN = 20  # of a loop that does not show what it has to do


class Quiet:
    """Looks at the threads and loops of one session, and remembers who stood still where."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._rests: dict[int, Look] = {}

    def threads(self, known: Iterable[int]) -> set[int]:
        """Return all threads that work for the session but this one, of which some are known."""
        frames = sys._current_frames()  # noqa: SLF001 - where other threads are
        found = {*known, *(ident for ident, frame in frames.items() if self._is_ours(frame))}
        return found - {threading.get_ident()}  # who looks never stands still

    def _is_ours(self, frame: FrameType | None) -> bool:
        while frame is not None:
            if frame.f_code is scopes.run_carried.__code__:
                scope = frame.f_locals.get("scope")
                return scope is not None and scope.session is self._session
            frame = frame.f_back
        return False

    def stood(self, ident: int, look: Look) -> bool:
        """Say whether a thread was found to wait just there."""
        return look is not None and self._rests.get(ident) == look

    def stands(self, ident: int, look: Look) -> None:
        """Remember that it does."""
        self._rests[ident] = look


class Settling:
    """Says when whoever was answered, and all who run beside it, have gone as far as they can."""

    def __init__(
        self, quiet: Quiet, answered: int, known: Mapping[int, asyncio.AbstractEventLoop | None]
    ) -> None:
        self._quiet, self._answered = quiet, answered
        self._loops = {i: _Loop(loop) for i, loop in known.items() if loop and loop.is_running()}
        self._known = [*known]
        self._threads: dict[int, _Thread] = {}
        self._began = time.monotonic()
        self.pause_s = _SOON_S

    def is_over(self, waiting: Collection[int]) -> bool:
        """Look at all but those that wait for an answer; to be asked again after a pause."""
        took = time.monotonic() - self._began
        self.pause_s = _SOON_S if took < _LATER_S else _PAUSE_S
        for ident in self._quiet.threads(self._known):
            most = _MOST_S if ident == self._answered else _BESIDE_S
            if ident not in waiting and took < most and not self._rests(ident):
                return False
        return True

    def _rests(self, ident: int) -> bool:
        loop = self._loops.get(ident)
        if loop is not None and loop.runs:
            return loop.idle
        if ident not in self._threads:
            self._threads[ident] = _Thread(self._quiet, ident)
        return self._threads[ident].is_over()


class _Thread:
    """A thread that goes on until it waits, ends or has no job any more."""

    def __init__(self, quiet: Quiet, ident: int) -> None:
        self._quiet, self._ident = quiet, ident
        self._last: Look = None
        self._alike = self._waits = 0
        self._since = time.monotonic()

    def is_over(self) -> bool:
        frame, now = sys._current_frames().get(self._ident), time.monotonic()  # noqa: SLF001 - see above
        if frame is None or _place(frame) == _IDLE:
            return True
        look = _look(self._ident, frame)
        if self._quiet.stood(self._ident, look):
            return True
        if look != self._last:
            self._last, self._since, self._alike, self._waits = look, now, 0, 0
            return False
        self._alike += 1
        # who waits to run Python does not look otherwise than who waits for an event
        waits = _place(frame)[0] in _WAITING and not _others_run(self._ident)
        self._waits = self._waits + 1 if waits else 0
        over = self._waits >= _SOON or (self._alike >= _LATER and now - self._since > _LATER_S)
        if over:
            self._quiet.stands(self._ident, look)
        return over


class _Loop:
    """A loop that goes on until none of its tasks can."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop, self.idle = loop, False
        with suppress(RuntimeError):  # it was closed this moment
            loop.call_soon_threadsafe(self._turn, 0)

    @property
    def runs(self) -> bool:
        return self._loop.is_running()

    def _turn(self, rounds: int) -> None:
        ready = getattr(self._loop, "_ready", None)
        most = _ROUNDS_UNSEEN if ready is None else _ROUNDS
        if rounds >= most or (ready is not None and not ready):
            self.idle = True
        else:
            self._loop.call_soon(self._turn, rounds + 1)


class Still:
    """Says when all threads of a session stand still for a while."""

    def __init__(self, quiet: Quiet) -> None:
        self._quiet = quiet
        self._last: Any = None
        self._alike = 0
        self._began = time.monotonic()

    def lasts(self, known: Iterable[int], waiting: Collection[int]) -> bool:
        """Look once more; to be asked every few milliseconds.

        ``known`` are threads of the session, ``waiting`` those that wait for an answer.
        """
        frames = sys._current_frames()  # noqa: SLF001 - see above
        beside = self._quiet.threads(known) - {*waiting}
        looks = {ident: _look(ident, frames.get(ident)) for ident in beside}
        self._alike = self._alike + 1 if looks == self._last else 0
        self._last = looks
        return self._alike >= _LATER or time.monotonic() - self._began > _MOST_S


def _place(frame: FrameType) -> tuple[str, str]:
    return str(frame.f_globals.get("__name__")), frame.f_code.co_qualname


def _look(ident: int, frame: FrameType | None) -> Look:
    if frame is None:
        return None
    ran = _ran(ident)
    return id(frame), frame.f_lasti, f"{ran} at {time.monotonic_ns()}" if ran == _RUNS else ran


def _others_run(ident: int) -> bool:
    """Say whether another thread has the processor, or waits for it: one of them may run Python.

    Where nobody can tell, one may.
    """
    own = threading.get_ident()
    return any(_ran(other) in ("", _RUNS) for other in [*_threads()] if other not in (ident, own))


def _ran(ident: int) -> str:
    """Return what Linux says of a thread's time on the processor; nothing elsewhere."""
    task = f"/proc/self/task/{getattr(_threads().get(ident), 'native_id', None)}"
    with suppress(OSError):
        if Path(f"{task}/stat").read_text().rpartition(")")[2].split()[0] == "R":
            return _RUNS
        return Path(f"{task}/schedstat").read_text()
    return ""


def _threads() -> dict[int, threading.Thread]:
    # `threading.enumerate` takes a lock that an agent's thread may hold
    return threading._active  # type: ignore[attr-defined,no-any-return]  # noqa: SLF001
