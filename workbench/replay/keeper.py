"""The new run of an isolated replay, kept here: what its child says is written, and its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from workbench.capture import values
from workbench.capture.exceptions import to_record
from workbench.capture.journal import Journal
from workbench.capture.pulse import Beating, Pulse

if TYPE_CHECKING:
    from workbench.replay import pipes
    from workbench.store.protocol import RunWriter


class Keeper:
    """Writes a child's events to the new run, and ends that where the child does not.

    Its store hears that the run goes on, also while no event comes.
    """

    def __init__(self, sink: RunWriter) -> None:
        self._sink = sink
        self._pulse = (
            Pulse(sink, thread_name="workbench-child-pulse") if isinstance(sink, Beating) else None
        )
        self._writers: dict[str, int] = {}
        self._ended = False

    @property
    def cancelled(self) -> bool:
        """Whether the store said that the run was cancelled."""
        return self._pulse is not None and self._pulse.cancelled

    def append(self, batch: pipes.Batch) -> None:
        """Write what came; what the child says of its end is kept in mind."""
        self._sink.append(batch.events, batch.bodies)
        for event in batch.events:
            self._writers[event.writer] = event.writer_seq
            self._ended = self._ended or event.event_type == "run_ended"

    def close(self) -> None:
        """Write what is left."""
        self._still()
        self._sink.close()

    def _still(self) -> None:
        if self._pulse is not None:
            self._pulse.stop()

    def end(self, error: BaseException, *, status: str) -> None:
        """End the run with what went wrong, unless the child said its end."""
        if self._ended:
            self.close()
            return
        self._still()
        journal = Journal(self._sink)
        journal.writers_beside = self._writers
        body = {"exception": to_record(error, values.Freezer())}
        journal.put("run_ended", payload=msgspec.json.encode(body), lane="root", status=status)
        journal.close()
