"""When an answer of a replay is handed out, of those that are asked for side by side.

In *declared* order a thread gets its answer at once. A task gets it after others of its loop had
their turn, so that none starves, and what had begun before the answer came has begun again.

In *completed* order answers come back in the order of the recording: each waits until everything
the recording holds before its end, starts and ends of calls, has happened again. Between two of
them whoever got the first goes on until it asks again, ends or waits, so that what follows from
the order follows again: what ``as_completed`` gives first, who takes a lock, what is appended to a
list. Where the recorded order cannot come about (sleeps are skipped, and a lock goes to another
thread; the code was changed) nothing moves any more, and the least of those that wait is answered:
a replay never hangs, and its certificate has a notice, ``order_not_kept``.

A call that was cancelled is not answered: it waits for whoever cancels it, or for its time limit,
which a replay does not wait for. Who is cancelled before a recorded answer came gets that answer,
and is cancelled where it waits next: a replay may be faster than its recording.
"""

from __future__ import annotations

import asyncio
import bisect
import threading
from array import array
from typing import TYPE_CHECKING

from workbench import hashing, ours
from workbench.capture import scope as scopes
from workbench.recording import NEVER
from workbench.replay import divergence as d
from workbench.replay import loops, quiet

if TYPE_CHECKING:
    from collections.abc import Callable

    from workbench.capture.session import Opened
    from workbench.recording import Recording
    from workbench.replay.policy import Order
    from workbench.replay.session import ReplaySession

_CANCELLED = hashing.type_name(asyncio.CancelledError)
_ROUNDS = 20  # of its loop, that a task waits for others to begin
_CHANGE_S = 0.005
THREAD_NAME = "workbench-turns"


class Marks:
    """Starts and ends of recorded calls in their order, and how far a replay has come in them."""

    def __init__(
        self, recording: Recording, is_asked: Callable[[int], bool], *, ends: bool
    ) -> None:
        self._is_asked = is_asked
        # a person's answer is given where its graph goes on, and takes no turn
        calls = recording.calls
        came = zip(calls.ended_seqs, calls.kinds, strict=True) if ends else ()
        self._ends = {seq for seq, kind in came if seq != NEVER and kind != "human"}
        self._marks = array("q", sorted({*calls.seqs, *self._ends}))
        self._at = 0

    def reached(self, seq: int) -> bool:
        """Say whether everything before an event has happened, or was passed over."""
        while self._at < len(self._marks) and self._happened(self._marks[self._at]):
            self._at += 1
        return self._at == len(self._marks) or self._marks[self._at] >= seq

    def _happened(self, mark: int) -> bool:
        return mark not in self._ends and self._is_asked(mark)

    def ended(self, seq: int) -> None:
        """Take note of an end."""
        self._ends.discard(seq)

    def pass_over(self, seq: int) -> None:
        """Wait for nothing before an event any more."""
        self._at = max(self._at, bisect.bisect_left(self._marks, seq))


class Declared:
    """Threads are answered at once, tasks when those beside them had their turn."""

    def __init__(self, session: ReplaySession) -> None:
        self._session = session
        self._marks: Marks | None = None

    def asked(self) -> None:
        """Take note that a recorded call is asked for."""

    def ended(self, opened: Opened) -> None:
        """Take note that a call came back."""

    def wait(self, opened: Opened) -> None:
        """Wait for a call's turn in a thread."""

    async def wait_in_loop(self, opened: Opened) -> None:
        """Wait for a call's turn in a task.

        Raises
        ------
        CancelledError
            The call was cancelled when it was recorded, and is now.
        """
        if asyncio._get_running_loop() is None:  # noqa: SLF001 - a coroutine that nobody's loop runs
            return
        lasting = was_cancelled(opened)
        await loops.passed(lasting=lasting)
        end = end_of(opened)
        if end is not None:
            await self._others_begin(end, lasting=lasting)
        if lasting:
            await loops.cancelled()

    async def wait_for_piece(self, opened: Opened) -> None:  # noqa: ARG002 - see Completed
        """Let others have their turn before the next pieces of a stream."""
        if asyncio._get_running_loop() is not None:  # noqa: SLF001 - see above
            await loops.passed(lasting=False)

    def close(self) -> None:
        """Answer whoever still waits."""

    async def _others_begin(self, end: int, *, lasting: bool) -> None:
        """Wait for the calls that had begun before an answer came; they may not come any more."""
        if self._marks is None:
            session = self._session
            self._marks = Marks(session.recording, session.engine.is_asked, ends=False)
        for _ in range(_ROUNDS):
            if self._marks.reached(end):
                return
            await loops.passed(lasting=lasting)
        self._marks.pass_over(end)


class _Waiting:
    """A call that waits for its turn, in a thread or in a task of a loop."""

    def __init__(self, end: int, opened: Opened, loop: asyncio.AbstractEventLoop | None) -> None:
        self.end, self.opened, self.loop = end, opened, loop
        self.work, self.ident = scopes.who(), threading.get_ident()
        self.lock = threading.Lock()
        self.lock.acquire()
        self.future = None if loop is None else loop.create_future()
        self.released = self.awake = False

    def release(self) -> None:
        if self.loop is None:
            self.released = True
            self.lock.release()
            return
        try:
            self.loop.call_soon_threadsafe(self._wake)
        except RuntimeError:  # the loop is closed: nobody waits there
            self.released = True

    def _wake(self) -> None:
        self.released = True
        if self.future is not None and not self.future.done():
            self.future.set_result(None)

    async def until_released(self, *, lasting: bool) -> None:
        """Wait; a cancelling that came too early is handed on to where the task waits next."""
        early = None
        while not self.released:
            assert self.loop is not None  # noqa: S101 - for the type checker
            self.future = self.loop.create_future()
            try:
                await self.future
            except asyncio.CancelledError as error:
                if lasting:
                    raise
                early = error
        if early is not None:
            loops.cancel_again(early)


class Completed(Declared):
    """Answers come back in the recorded order."""

    def __init__(self, session: ReplaySession) -> None:
        super().__init__(session)
        self._order = Marks(session.recording, session.engine.is_asked, ends=True)
        self._changed = threading.Condition()
        self._change = 0
        self._waiting: list[_Waiting] = []
        self._last: _Waiting | None = None
        self._settled: _Waiting | None = None
        self._closed = False
        self._thread: threading.Thread | None = None
        self._quiet = quiet.Quiet(session)
        # those that asked, and the one that plays; a loop where they run one
        self._threads: dict[int, asyncio.AbstractEventLoop | None] = {threading.get_ident(): None}

    def asked(self) -> None:
        """Take note that a recorded call is asked for."""
        with self._changed:
            self._tell()

    def ended(self, opened: Opened) -> None:
        """Take note that a call came back, be it without having waited."""
        end = end_of(opened)
        if end is not None:
            with self._changed:
                self._order.ended(end)
                self._tell()

    def wait(self, opened: Opened) -> None:
        """Wait for a call's turn in a thread."""
        one = self._entered(opened, None)
        if one is None:
            return
        try:
            one.lock.acquire()
        finally:
            self._left(one)

    async def wait_in_loop(self, opened: Opened) -> None:
        """Wait for a call's turn in a task."""
        loop = asyncio._get_running_loop()  # noqa: SLF001 - see above
        if loop is None:
            return
        lasting = was_cancelled(opened)
        one = self._entered(opened, loop)
        if one is not None:
            try:
                await one.until_released(lasting=lasting)
            finally:
                self._left(one)
        if lasting:
            await loops.cancelled()

    def close(self) -> None:
        """Answer whoever still waits."""
        with self._changed:
            self._closed = True
            self._tell()

    def _tell(self) -> None:
        self._change += 1
        self._changed.notify_all()

    def _entered(self, opened: Opened, loop: asyncio.AbstractEventLoop | None) -> _Waiting | None:
        """Return what a call waits by; None where it is its turn."""
        end = end_of(opened)
        if end is None:
            return None
        one = _Waiting(end, opened, loop)
        with self._changed:
            self._threads[one.ident] = loop
            same = self._last is None or self._last.work == one.work
            if self._closed or (same and self._order.reached(end)):
                one.awake = True
                self._take(one)
                return None
            self._waiting.append(one)
            if self._thread is None:
                self._thread = ours.started(self._work, name=THREAD_NAME)
            self._tell()
        return one

    def _left(self, one: _Waiting) -> None:
        one.awake = True
        with self._changed:
            if one in self._waiting:
                self._waiting.remove(one)
            self._tell()

    def _take(self, one: _Waiting) -> None:
        self._last = one
        # of a call that was cancelled the end is when it is cancelled
        if not was_cancelled(one.opened):
            self._order.ended(one.end)

    # ---- on a thread of its own

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._closed:
                    self._changed.wait()
                if self._closed:
                    for one in self._waiting:
                        one.release()
                    self._waiting.clear()
                    return
            self._settle()
            found = self._next()
            if found is not None:
                found.release()

    def _over(self) -> bool:
        return self._closed or self._session.stopped

    def _settle(self) -> None:
        """Wait until whoever was answered last has gone as far as it can."""
        while self._settled is not self._last and not self._over():
            last = self._last
            if last is not None:
                self._settle_one(last)
            self._settled = last

    def _settle_one(self, last: _Waiting) -> None:
        settling = quiet.Settling(self._quiet, last.ident, dict(self._threads))
        while last is self._last and not self._over():
            with self._changed:
                if last.awake and settling.is_over(self._waiting_threads()):
                    return
                self._changed.wait(settling.pause_s)

    def _waiting_threads(self) -> set[int]:
        return {one.ident for one in self._waiting if one.loop is None}

    def _next(self) -> _Waiting | None:
        """Return whose turn it is; the least of all where nothing moves any more."""
        still, change = quiet.Still(self._quiet), self._change
        with self._changed:
            while self._waiting:
                if self._settled is not self._last and not self._over():
                    return None  # somebody was answered meanwhile
                found = [one for one in self._waiting if self._order.reached(one.end)]
                if found or self._over() or self._stands(still):
                    break
                self._changed.wait(_CHANGE_S)
                if change != self._change:
                    still, change = quiet.Still(self._quiet), self._change
            if not self._waiting:
                return None
            one = min(found or self._waiting, key=lambda w: w.end)
            self._waiting.remove(one)
            self._order.pass_over(one.end)
            self._take(one)
        if not found and not self._over():
            self._tell_not_kept(one)
        return one

    def _stands(self, still: quiet.Still) -> bool:
        return still.lasts(self._threads, self._waiting_threads())

    def _tell_not_kept(self, one: _Waiting) -> None:
        asked = one.opened.asked
        self._session.note(
            d.Divergence(
                kind="order_not_kept",
                seq=one.end,
                lane=one.opened.lane,
                expected=None,
                actual={"kind": asked.kind, "name": asked.name},
                cause=f"{asked.kind} {asked.name} was answered before what was recorded before it, "
                "since everything else stood still",
                fix="its order came from sleeps, locks or work outside recorded calls",
            )
        )


def end_of(opened: Opened) -> int | None:
    """Return where the recorded call that answers came back; None where it never did."""
    answer = opened.answer
    return None if answer is None or answer.source is None else answer.source.ended_seq


def was_cancelled(opened: Opened) -> bool:
    """Say whether the recorded call that answers was cancelled from outside."""
    answer = opened.answer
    if answer is None or answer.status != "cancelled":
        return False
    return (answer.came.exception or {}).get("class") == _CANCELLED


def of(session: ReplaySession, order: Order) -> Declared:
    """Return what keeps an order in a session."""
    return Completed(session) if order == "completed" else Declared(session)
