"""The product's own recorder, watched: what it was given to send, and what it was told is stored."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from proof import Known

from workbench.capture.journal import Journal
from workbench.schema import RunHeader

if TYPE_CHECKING:
    from workbench.store.remote import RemoteStore


class Watched:
    """Stands between the recorder and the store, and keeps account."""

    def __init__(self, sink: Any, known: Known) -> None:
        self._sink = sink
        self._known = known

    def append(self, events: Any, bodies: Any = None) -> None:
        for event in events:
            self._known.sent[event.writer, event.writer_seq] = event.digest
        self._sink.append(events, bodies)
        for event in events:
            self._known.acknowledged.setdefault((event.writer, event.writer_seq), None)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sink, name)


class Recorder(threading.Thread):
    """Records remarks until it is told to end the run."""

    def __init__(self, store: RemoteStore) -> None:
        super().__init__(name="recorder", daemon=True)
        self.known = Known()
        sink = store.writer(RunHeader(name="recorded"))
        self.run_id = sink.run_id
        self.journal = Journal(Watched(sink, self.known))
        self._enough = threading.Event()

    def run(self) -> None:
        self._put("run_started")
        number = 0
        while not self._enough.wait(0.002):
            number += 1
            self._put("annotated", payload=b'{"label":"l","value":{"token":"t%d"}}' % number)
        self._put("run_ended", status="done")
        self.journal.close()

    def _put(self, event_type: str, **more: Any) -> None:
        self.journal.put(event_type, **more)

    def end(self) -> None:
        """End the run; all of it is stored, or `journal.error` says what is not."""
        self._enough.set()
        self.join()
