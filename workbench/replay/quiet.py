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
from typing import TYPE_CHECKING, Any, Protocol

from workbench.capture import scope as scopes

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable
    from types import FrameType

    from workbench.capture.session import Session

    # of a thread: its innermost frame, the place in it, and its time on the processor
    Look = tuple[int, int, str] | None

_WAITING = frozenset({"threading", "queue", "selectors", "concurrent.futures._base"})
_IDLE = ("concurrent.futures.thread", "_worker")
_SOON, _LATER = 3, 10  # looks without a change
_SOON_S, _LATER_S = 0.0005, 0.005
_MOST_S = 5.0  # that somebody may be busy without any call
_ROUNDS = 100  # of a loop whose tasks keep each other awake
_ROUNDS_UNSEEN = 20  # of a loop that does not show what it has to do

# sleeping is skipped where an agent's code runs; whoever looks at it sleeps
_sleep = time.sleep


class Watch(Protocol):
    """Looks at whoever got an answer."""

    def is_over(self) -> bool:
        """Say whether it has gone as far as it can."""

    def pause(self) -> None:
        """Wait a little for it."""


def watch(ident: int, loop: asyncio.AbstractEventLoop | None) -> Watch:
    """Return what looks at the work of a thread, or at a loop."""
    return _Thread(ident) if loop is None else _Loop(loop)


class _Thread:
    """A thread that got an answer: it goes on until it waits, ends or has no job any more."""

    def __init__(self, ident: int) -> None:
        self._ident = ident
        self._last: Look = None
        self._alike, self._needs = 0, _SOON
        self._until = time.monotonic() + _MOST_S

    def is_over(self) -> bool:
        frame = sys._current_frames().get(self._ident)  # noqa: SLF001 - where other threads are
        if frame is None or _place(frame) == _IDLE or time.monotonic() > self._until:
            return True
        self._needs = _SOON if _place(frame)[0] in _WAITING else _LATER
        look = _look(self._ident, frame)
        self._alike = self._alike + 1 if look == self._last else 0
        self._last = look
        return self._alike >= self._needs

    def pause(self) -> None:
        _sleep(_SOON_S if self._needs == _SOON else _LATER_S)


class _Loop:
    """A loop one of whose tasks got an answer: it goes on until none of them can."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._idle = threading.Event()
        self._until = time.monotonic() + _MOST_S
        try:
            loop.call_soon_threadsafe(self._turn, 0)
        except RuntimeError:  # it is closed
            self._idle.set()

    def _turn(self, rounds: int) -> None:
        ready = getattr(self._loop, "_ready", None)
        most = _ROUNDS_UNSEEN if ready is None else _ROUNDS
        if rounds >= most or (ready is not None and not ready):
            self._idle.set()
        else:
            self._loop.call_soon(self._turn, rounds + 1)

    def is_over(self) -> bool:
        return self._idle.is_set() or time.monotonic() > self._until

    def pause(self) -> None:
        self._idle.wait(_LATER_S)


class Still:
    """Says when all threads of a session stand still for a while."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._last: Any = None
        self._alike = 0
        self._until = time.monotonic() + _MOST_S

    def lasts(self, known: Iterable[int], waiting: Iterable[int]) -> bool:
        """Look once more; to be called every few milliseconds.

        ``known`` are threads of the session, ``waiting`` those that wait for an answer.
        """
        frames = sys._current_frames()  # noqa: SLF001 - see above
        ours = {*known, *(i for i, frame in frames.items() if self._is_ours(frame))} - {*waiting}
        looks = {ident: _look(ident, frames.get(ident)) for ident in ours}
        self._alike = self._alike + 1 if looks == self._last else 0
        self._last = looks
        return self._alike >= _LATER or time.monotonic() > self._until

    def _is_ours(self, frame: FrameType | None) -> bool:
        while frame is not None:
            if frame.f_code is scopes.run_carried.__code__:
                scope = frame.f_locals.get("scope")
                return scope is not None and scope.session is self._session
            frame = frame.f_back
        return False


def _place(frame: FrameType) -> tuple[str, str]:
    return str(frame.f_globals.get("__name__")), frame.f_code.co_qualname


def _look(ident: int, frame: FrameType | None) -> Look:
    return None if frame is None else (id(frame), frame.f_lasti, _ran(ident))


def _ran(ident: int) -> str:
    """Return what Linux says of a thread's time on the processor; nothing elsewhere."""
    thread = threading._active.get(ident)  # type: ignore[attr-defined]  # noqa: SLF001 - `enumerate` may wait
    own = f"/proc/self/task/{getattr(thread, 'native_id', None)}"
    with suppress(OSError):
        if Path(f"{own}/stat").read_text().rpartition(")")[2].split()[0] == "R":
            return f"runs at {time.monotonic_ns()}"
        return Path(f"{own}/schedstat").read_text()
    return ""
