"""A writer's events, numbered, sealed and sent from a thread of its own.

The agent's thread only appends to a queue. A store that fails never reaches the agent: what could
not be sent is kept, tried again, and told at the end. A run that the server ended takes no more:
what comes after its end is dropped, and told once.
"""

from __future__ import annotations

import itertools
import logging
import os
import threading
import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

import msgspec

from workbench import hashing
from workbench.capture.pulse import Beating, Pulse
from workbench.errors import RateLimited, RunClosed, Unavailable, WorkbenchError
from workbench.schema import Event

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from workbench.store.protocol import RunWriter

log = logging.getLogger("workbench.capture")

_BATCH = 500
_PAUSE_S = 0.05
_LAST_TRY_S = 5.0
_PASSING = (Unavailable, RateLimited)  # what may be over in a moment
# the guard of a replay knows our own threads by this prefix
THREAD_NAME = "workbench-journal"


class Journal:
    """Collects one writer's events and appends them to a run in batches."""

    def __init__(self, sink: RunWriter) -> None:
        self._sink = sink
        self.writer = os.urandom(8).hex()
        self._queue: SimpleQueue[Any] = SimpleQueue()
        self._written = 0
        self._pending: list[Event] = []
        self._bodies: dict[str, Any] = {}
        self._sent: set[str] = set()
        self.error: WorkbenchError | None = None
        self._dropped = 0
        self._steps = itertools.count(1)
        self._held: list[Any] | None = None
        self._thread = threading.Thread(target=self._work, name=THREAD_NAME, daemon=True)
        self._thread.start()
        self._pulse = (
            Pulse(sink, thread_name=f"{THREAD_NAME}-pulse") if isinstance(sink, Beating) else None
        )

    def put(
        self,
        event_type: str,
        *,
        at: datetime,
        payload: bytes = b"{}",
        bodies: dict[str, Any] | None = None,
        late: Callable[[], dict[str, Any]] | None = None,
        **fields: Any,
    ) -> None:
        """Take an event; ``late`` gives the fields that can wait for the journal's own thread."""
        item = (event_type, at, payload, bodies, late, fields)
        if self._held is None:
            self._queue.put(item)
        elif event_type != "run_started":
            self._held.append(item)
        else:
            held, self._held = self._held, None
            for waiting in (item, *held):
                self._queue.put(waiting)

    def hold(self) -> None:
        """Keep events back until the run's first one comes."""
        self._held = []

    def flush(self) -> None:
        """Wait until everything that was put is sent or kept."""
        done = threading.Event()
        self._queue.put(done)
        done.wait()

    def close(self) -> None:
        """Send what is left and end the thread; `error` says whether anything was lost."""
        self._queue.put(None)
        self._thread.join()

    @property
    def unsent(self) -> int:
        """How many events the store could not take, or would not after the run's end."""
        return len(self._pending) + self._dropped

    @property
    def ended(self) -> bool:
        """Whether the server ended the run while it was being recorded."""
        return isinstance(self.error, RunClosed)

    @property
    def cancelled(self) -> bool:
        """Whether the server said that the run was cancelled, or takes no more of it."""
        return self.ended or (self._pulse is not None and self._pulse.cancelled)

    def _work(self) -> None:
        open_ = True
        while open_:
            open_ = self._collect()
            self._send()
        deadline = time.monotonic() + _LAST_TRY_S
        while self._pending and isinstance(self.error, _PASSING) and time.monotonic() < deadline:
            time.sleep(0.2)
            self._send()
        if self._pulse is not None:
            self._pulse.stop()
        self._close_sink()

    def _collect(self) -> bool:
        """Move what waits in the queue to the batch; False when the journal is closed."""
        try:
            item = self._queue.get(timeout=_PAUSE_S)
            while item is not None:
                if isinstance(item, threading.Event):
                    self._send()
                    item.set()
                else:
                    self._number(*item)
                if len(self._pending) >= _BATCH and self.error is None:
                    return True
                item = self._queue.get_nowait()
        except Empty:
            return True
        return False

    def _number(  # noqa: PLR0917 - the parts of one queued item
        self, event_type: str, at: datetime, payload: bytes, bodies: Any, late: Any, fields: Any
    ) -> None:
        if late is not None:
            fields = {**fields, **late()}
        self._written += 1
        if event_type == "run_ended":
            payload = self._with_writers(payload)
        for digest, body in (bodies or {}).items():
            if digest not in self._sent:
                self._bodies[digest] = body
        event = Event(
            event_type=event_type,  # type: ignore[arg-type] # the callers pass literals of the schema
            started_at=at,
            payload=msgspec.Raw(payload),
            writer=self.writer,
            writer_seq=self._written,
            **fields,
        )
        self._pending.append(hashing.sealed(event))

    def _with_writers(self, payload: bytes) -> bytes:
        body = msgspec.json.decode(payload)
        return hashing.dumps({**body, "writers": {self.writer: self._written}})

    def _send(self) -> None:
        if self.ended:
            self._drop()
        if not self._pending:
            return
        try:
            self._sink.append(self._pending, self._bodies)
        except RunClosed as error:
            self.error = error
            self._drop()
            log.warning("the run was ended by the server; nothing more of it is sent")
        except WorkbenchError as error:
            self.error = error
            log.warning("events could not be stored: %s", error)
        except Exception as error:  # noqa: BLE001 - capture never breaks the agent
            self.error = Unavailable("events could not be stored", found=repr(error))
            log.warning("events could not be stored: %r", error)
        else:
            self.error = None
            self._sent.update(self._bodies)
            self._pending, self._bodies = [], {}

    def _drop(self) -> None:
        self._dropped += len(self._pending)
        self._pending, self._bodies = [], {}

    def _close_sink(self) -> None:
        try:
            self._sink.close()
        except WorkbenchError as error:
            self.error = self.error or error
        except Exception as error:  # noqa: BLE001 - see above
            self.error = self.error or Unavailable("the run could not be closed", found=repr(error))

    def step_id(self) -> str:
        """Return an id no other step of the run has."""
        return f"{self.writer}-{next(self._steps)}"
