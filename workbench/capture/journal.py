"""A writer's events: taken on the agent's thread, numbered, sealed and written behind it.

The agent's thread only appends to a queue, and waits where what it does must be on the disk before
it goes on (`Journal.settle`): numbers and files are one thread's alone, since an agent's own can be
interrupted anywhere (Ctrl-C, an alarm). Nothing that fails here reaches the agent: what could not
be written is tried again, and told at the end.
"""

from __future__ import annotations

import atexit
import itertools
import logging
import os
import threading
import time
import weakref
from collections import deque
from contextlib import suppress
from datetime import UTC, datetime
from queue import Empty, SimpleQueue
from time import time_ns
from typing import TYPE_CHECKING, Any

import msgspec
import orjson

from workbench import hashing, ours
from workbench.capture import written
from workbench.capture.pulse import Beating, Pulse
from workbench.capture.redacting import JournalRedaction
from workbench.errors import (
    RateLimited,
    RecordingFailed,
    RunClosed,
    SpoolFailed,
    Unavailable,
    WorkbenchError,
)
from workbench.schema import Event
from workbench.sharing import Folding, OutputFolding

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from workbench.capture.written import Written
    from workbench.redaction import Wanted
    from workbench.store.protocol import RunWriter

log = logging.getLogger("workbench.capture")

_BATCH = 500
# Between two looks at the queue: short, so that its work is done while the agent waits for a model,
# and not when that answers. While the agent makes one call after the other, some such pauses keep
# the journal's thread from taking turns with it; they bound what a killed process takes with it.
_PAUSE_S = 0.005
_MOST_PAUSES = 3
_LAST_TRY_S, _LONGEST_LAST_TRY_S = 1.5, 4.0
_LAST_RETRY_S = 0.1
_LONGEST_CLOSE_S = 5.0  # whatever hangs: nobody waits longer for the end of a recording
_RETRY_S = 0.2
_SETTLED_WITHIN_S = 2.0  # a disk that takes longer is waited for once
# what is kept in memory while neither disk nor store takes anything
_MOST_EVENTS, _MOST_BYTES = 50_000, 2**26
_MOST_QUEUED = 4 * _MOST_EVENTS
_REST_OF_MESSAGE = 200
_LONGEST_REASON = 300
_PASSING = (Unavailable, RateLimited, SpoolFailed)  # what may be over in a moment
THREAD_NAME = "workbench-journal"
_NO_BODIES: Mapping[str, Any] = {}
_GIVES_BACK = frozenset(("step_ended", "run_ended"))
_MESSAGE = b'{"$type":"message"'


class Item(msgspec.Struct, eq=False, gc=False):
    """What happened when (ns): the event that ``make`` makes of some parts.

    It stays in no circle: its queue is empty when its journal has ended.
    """

    at_ns: int
    make: Callable[..., Written]
    parts: tuple[Any, ...]


class Journal:
    """Collects one writer's events and appends them to a run in batches.

    Attributes
    ----------
    error
        Why the last attempt to write failed; None while all goes well.
    spooled
        How many events lay on this machine's disk alone when the journal was closed.
    dropped
        How many events were left out, since neither memory nor disk nor store had room for them.
    """

    def __init__(self, sink: RunWriter, *, redact: Wanted | None = None) -> None:
        self._sink = sink
        self.redaction = JournalRedaction(sink, redact)
        self.writer = os.urandom(8).hex()
        self._queue: deque[Item] = deque()
        # None, or True from those who wait. An agent's alarm may ring it in the middle of ringing.
        self._bell: SimpleQueue[bool | None] = SimpleQueue()
        self._rung = False
        self._over = False
        # Not the thread's own word: until Python 3.13, Ctrl-C while a thread is asked or waited for
        # makes it say that it has ended.
        self._ended, self._end = False, threading.Lock()
        self._end.acquire()
        self._process = os.getpid()
        self._overrun = 0
        self._settling: deque[threading.Lock] = deque()
        self._slow = False
        self._closing = False
        self._numbered = 0
        self._pending: list[Event] = []
        self._bodies: dict[str, Any] = {}
        self._weight = 0  # of both, in bytes
        self._folding = Folding()
        self._outputs = OutputFolding(is_pooled=lambda d: d in self._sent or d in self._bodies)
        self._sent: set[str] = set()
        self.error: WorkbenchError | None = None
        self._lost = 0  # after the run's end
        self.spooled = 0
        self.dropped = 0
        self._untold: dict[str, int] = {}  # what is dropped and not told in the run, by reason
        self._finished = False
        self._steps = itertools.count(1)
        # the last numbers of other writers, for the run's end to name
        self.writers_beside: dict[str, int] = {}
        self._holding = threading.RLock()
        self._held: list[Item] | None = None
        self._thread = ours.started(self._work, name=THREAD_NAME)
        _open.add(self)
        self._pulse = (
            Pulse(sink, thread_name=f"{THREAD_NAME}-pulse") if isinstance(sink, Beating) else None
        )

    def put(
        self,
        event_type: str,
        *,
        payload: bytes = b"{}",
        bodies: Mapping[str, Any] = _NO_BODIES,
        **fields: Any,
    ) -> None:
        """Take an event that happens now."""
        self.take(written.event, event_type, payload, bodies, fields)

    def take(self, make: Callable[..., Written], *parts: Any) -> None:
        """Take an event that happens now, and is made of its parts on the journal's own thread."""
        item = Item(time_ns(), make, parts)
        if self._held is not None:
            self._hold_back(item)
        elif len(self._queue) < _MOST_QUEUED and not self._over:
            self._queue.append(item)
        else:  # the journal's thread hangs with the disk, or has ended
            self._overrun += 1
        if not self._rung:
            self._rung = True
            self._bell.put(None)

    def _hold_back(self, item: Item) -> None:
        with self._holding:
            if self._held is None:
                self._queue.append(item)
            elif item.parts[0] == "run_started":
                self._queue.extend((item, *self._held))
                self._held = None
            else:
                self._held.append(item)

    def _hold_no_more(self) -> None:
        with self._holding:
            self._queue.extend(self._held or ())
            self._held = None

    def hold(self) -> None:
        """Keep events back until the run's first one comes, or one that has to be written first."""
        self._held = []

    def settle(self) -> None:
        """Wait until what was put is written: a process killed behind it loses none of that.

        Where nothing can be written there is nothing to wait for.
        """
        if self.error is not None or self._slow or self._over:
            return
        if self._held:
            self._hold_no_more()
        done = threading.Lock()
        done.acquire()
        self._settling.append(done)
        self._bell.put(True)
        self._slow = not done.acquire(timeout=_SETTLED_WITHIN_S)

    def close(self) -> None:
        """Write what is left and end the thread; `error` says whether anything was lost."""
        self._closing = True
        self._bell.put(True)
        if not self._ended and self._end.acquire(timeout=_LONGEST_CLOSE_S):
            self._end.release()
        _open.discard(self)
        if not self._ended and self.error is None:
            self.error = Unavailable("the recording could not be written to its end in time")
            self.spooled = int(getattr(self._sink, "waiting", 0))

    def ends_quietly(self) -> None:
        """Leave it to others to close this one where the process ends: no run ends with it."""
        _open.discard(self)

    @property
    def sink(self) -> RunWriter:
        """Where its events go."""
        return self._sink

    @property
    def numbered(self) -> int:
        """The number of its last event."""
        return self._numbered

    @property
    def behind(self) -> int:
        """How many events were put and are not numbered yet."""
        return len(self._queue)

    @property
    def alive(self) -> bool:
        """Whether its thread still writes: not after `close`, nor in a forked child."""
        return not self._ended and self._process == os.getpid()

    @property
    def run_id(self) -> str:
        """The run that is written."""
        return self._sink.run_id

    @property
    def stubs(self) -> int:
        """How many events gave way to a stub, since the store would not take them."""
        return int(getattr(self._sink, "stubs", 0))

    @property
    def unsent(self) -> int:
        """How many events the store could not take, or would not after the run's end."""
        return len(self._pending) + len(self._queue) + self.dropped + self._lost

    @property
    def ended(self) -> bool:
        """Whether the server ended the run while it was being recorded."""
        why = self.error or getattr(self._sink, "failing", None)
        return isinstance(why, RunClosed)

    @property
    def cancelled(self) -> bool:
        """Whether the server said that the run was cancelled, or takes no more of it."""
        return self.ended or (self._pulse is not None and self._pulse.cancelled)

    def check(self) -> None:
        """Refuse to go on where what happens next could not be kept.

        Raises
        ------
        RecordingFailed
            Neither disk nor store takes events, or the store takes none for a while.
        """
        why = self.error or getattr(self._sink, "failing", None)
        if why is None and self._slow:
            why = Unavailable("the disk takes too long", where=f"run {self._sink.run_id}")
        if why is not None:
            raise RecordingFailed(
                "the agent is stopped, since its recording cannot go on",
                where=f"run {self._sink.run_id}",
                found=str(why),
                hint='on_error="open" lets it go on, and tells what is missing',
            ) from why

    def step_id(self) -> str:
        """Return an id no other step of the run has."""
        return f"{self.writer}-{next(self._steps)}"

    # ---- behind the agent

    def _work(self) -> None:
        try:
            self._write_until_closed()
        finally:
            self._over = self._ended = True
            self._end.release()

    def _write_until_closed(self) -> None:
        while not self._closing:
            self._wait()
            self._write_all()
            if self.error is not None and not self._closing:
                time.sleep(_RETRY_S)
                self._bell.put(None)
        self._write_all(last=True)
        self._last_try()
        self._over = True
        self.dropped += len(self._queue)  # of those who went on behind the end
        self._queue.clear()
        if self._pulse is not None:
            self._pulse.stop()
        self._close_sink()

    def _wait(self) -> None:
        """Wait for events, and for as long as more of them come; not for long."""
        urgent = self._bell.get()
        for _ in range(_MOST_PAUSES):
            if urgent:
                break
            known = len(self._queue)
            with suppress(Empty):
                urgent = self._bell.get(timeout=_PAUSE_S)
            if len(self._queue) == known:
                break
        self._rung = False

    def _last_try(self) -> None:
        """Try on for a moment, and for longer while something of it is taken."""
        last = time.monotonic() + _LONGEST_LAST_TRY_S
        until = time.monotonic() + _LAST_TRY_S
        while self._pending and isinstance(self.error, _PASSING) and time.monotonic() < until:
            # What makes room in a spool that is full waits for its server to be asked again.
            getattr(self._sink, "hurry", _do_nothing)()
            time.sleep(_LAST_RETRY_S)
            before = len(self._pending)
            self._write_all()
            if len(self._pending) < before:
                until = min(time.monotonic() + _LAST_TRY_S, last)

    def _write_all(self, *, last: bool = False) -> None:
        """Write what was put before now, and let those go on who wait for it."""
        settling = [self._settling.popleft() for _ in range(len(self._settling))]
        try:
            self._write()
            if last and not self._finished:
                self._write_rest()
        except Exception as error:  # noqa: BLE001 - capture never breaks the agent
            self._failed(Unavailable("events could not be written", found=repr(error)))
        self._slow = False
        for done in settling:
            done.release()

    def _write(self) -> None:
        """Move what waits in the queue to the store, in its order."""
        while self._queue:
            while self._queue and len(self._pending) < _BATCH and self._weight < _MOST_BYTES:
                self._number(self._queue.popleft())
            self._send()
            if self.error is not None and not self.ended:
                self._bound()
                return
        if not self._finished and self.error is None:
            self._tell_dropped(time_ns())
        self._send()

    def _write_rest(self) -> None:
        """Write what redaction kept back of streams that nobody ended."""
        for at, one in self.redaction.rest():
            self._sealed(at, *one)
        self._send()

    def _number(self, item: Item) -> None:
        if self._finished:
            self.dropped += 1  # the run was said to end before it, and takes nothing more
            return
        self._tell_dropped(item.at_ns)
        try:
            self._made(item.at_ns, *item.make(*item.parts))
        except Exception as error:  # noqa: BLE001 - one event that cannot be made costs no other
            log.warning("an event could not be made: %r", error)
            self._leave_out(f"it could not be written down: {error!r}"[:_LONGEST_REASON])

    def _made(
        self, at_ns: int, fields: dict[str, Any], payload: bytes, bodies: Mapping[str, Any]
    ) -> None:
        for at, one in self.redaction.take(at_ns, (fields, payload, bodies)):
            self._sealed(at, *one)

    def _sealed(
        self, at_ns: int, fields: dict[str, Any], payload: bytes, bodies: Mapping[str, Any]
    ) -> None:
        number = self._numbered + 1
        if fields["event_type"] == "run_ended":
            payload = self._with_writers(payload, number)
            self._finished = True
        elif fields["event_type"] == "call_started" and b'"messages":[' in payload:
            payload = self._folded(fields, payload)
        if fields["event_type"] in _GIVES_BACK and _MESSAGE in payload:
            payload = self._shortened(fields, payload)
        envelope = Event(
            started_at=datetime.fromtimestamp(at_ns / 1e9, UTC),
            writer=self.writer,
            writer_seq=number,
            **fields,
        )
        event = hashing.sealed_with(envelope, payload)
        for digest, body in bodies.items():
            if digest not in self._sent and digest not in self._bodies:
                self._bodies[digest] = body
                self._weight += _weight_of(body)
        self._weight += len(payload)
        self._pending.append(event)
        self._numbered = number

    def _folded(self, fields: dict[str, Any], payload: bytes) -> bytes:
        """Return what is stored of a model's request: a conversation that goes on, but once."""
        if fields.get("kind") != "model":
            return payload
        whole = orjson.loads(payload)["request"]
        stored = self._folding.fold(fields["lane"], fields["step_id"], whole)
        return payload if stored is whole else hashing.dumps({"request": stored})

    def _shortened(self, fields: dict[str, Any], payload: bytes) -> bytes:
        """Return what is stored of an output: the messages that the run has are named in it."""
        body = orjson.loads(payload)
        step_id = fields["step_id"] if fields["event_type"] == "step_ended" else None
        return hashing.dumps({**body, "output": self._outputs.fold(step_id, body.get("output"))})

    def _with_writers(self, payload: bytes, number: int) -> bytes:
        body = msgspec.json.decode(payload)
        return hashing.dumps({**body, "writers": {**self.writers_beside, self.writer: number}})

    def _send(self) -> None:
        if self.ended:
            self._drop()
        if not self._pending:
            return
        try:
            self._sink.append(self._pending, self._bodies)
        except RunClosed as error:
            self._closed(error)
            self._drop()
        except WorkbenchError as error:
            self._failed(error)
        except Exception as error:  # noqa: BLE001 - capture never breaks the agent
            self._failed(Unavailable("events could not be stored", found=repr(error)))
        else:
            self.error = None
            self._sent.update(self._bodies)
            self._keep([], {})

    def _keep(self, pending: list[Event], bodies: dict[str, Any]) -> None:
        self._pending, self._bodies = pending, bodies
        self._weight = sum(len(event.payload) for event in pending)
        self._weight += sum(map(_weight_of, bodies.values()))

    def _closed(self, error: RunClosed) -> None:
        if not isinstance(self.error, RunClosed):
            log.warning("the run was ended by the server; nothing more of it is sent")
        self.error = error

    def _failed(self, error: WorkbenchError) -> None:
        if self.error is None:
            log.warning("events could not be stored: %s", error)
        self.error = error
        stored = int(error.facts.get("stored", 0))
        if stored:  # the first of them are there, and the bodies went ahead of them
            self._sent.update(self._bodies)
            self._keep(self._pending[stored:], {})

    def _bound(self) -> None:
        """Keep no more in memory than is bearable: the newest go, so that no number is missing."""
        while self._queue and len(self._pending) < _MOST_EVENTS and self._weight < _MOST_BYTES:
            self._number(self._queue.popleft())
        while self._queue:
            item = self._queue.popleft()
            if item.parts[0] == "run_ended":
                self._number(item)
            else:
                self._leave_out("neither disk nor store had room")

    def _leave_out(self, reason: str) -> None:
        self.dropped += 1
        self._untold[reason] = self._untold.get(reason, 0) + 1

    def _tell_dropped(self, at_ns: int) -> None:
        """Write into the run itself, at the place where it is, what is missing of it."""
        if not self._overrun and not self._untold:
            return
        overrun, self._overrun = self._overrun, 0
        if overrun:
            self.dropped += overrun
            hung = "neither disk nor store answered"
            self._untold[hung] = self._untold.get(hung, 0) + overrun
        untold, self._untold = self._untold, {}
        for reason, count in untold.items():
            value = {"kind": "event", "name": None, "reason": reason, "events": count}
            payload = hashing.dumps({"label": "capture_gap", "value": value})
            self._made(at_ns, {"event_type": "annotated"}, payload, _NO_BODIES)

    def _drop(self) -> None:
        self._lost += len(self._pending)
        self._keep([], {})

    def _close_sink(self) -> None:
        try:
            self._sink.close()
        except WorkbenchError as error:
            if isinstance(error, RunClosed):
                self._closed(error)
            self.error = self.error or error
            self.spooled = int(error.facts.get("spooled", 0))
            self._lost += int(error.facts.get("lost", 0))
        except Exception as error:  # noqa: BLE001 - see above
            self.error = self.error or Unavailable("the run could not be closed", found=repr(error))


def _weight_of(body: Any) -> int:
    """Return about how many bytes a message is; a text is not looked at."""
    content = body.get("content") if type(body) is dict else None
    if type(content) is str:
        return len(content) + _REST_OF_MESSAGE
    return len(hashing.dumps(body))


def _do_nothing() -> None: ...


_open: weakref.WeakSet[Journal] = weakref.WeakSet()


@atexit.register
def _close_open() -> None:
    """Write what a process has that ends in the middle of a recording."""
    for journal in list(_open):
        if journal.alive:
            journal.close()
            log.warning(
                "the process ended in the middle of a recording: run %s has no end%s",
                journal.run_id,
                f", and {journal.spooled} events of it are on this machine's disk alone"
                if journal.spooled
                else "",
            )
