"""A store in memory: what recording and replaying need of one, and room for forged logs."""

from __future__ import annotations

import msgspec

from workbench import frames, hashing
from workbench.store.ids import new_run_id
from workbench.store.run import Run


class Shelf:
    """Runs in memory, written as to any store."""

    read_only = False
    address = "memory"
    workspace_id = "memory"

    def __init__(self):
        self._sinks = {}

    def writer(self, header):
        sink = _Sink(header)
        self._sinks[sink.run_id] = sink
        return sink

    def run(self, run_id):
        return Run(self, self.row(run_id))

    def row(self, run_id):
        sink = self._sinks[run_id]
        return frames.run_row(sink.header, self.events(run_id))

    def events(self, run_id, **wanted):
        return frames.from_events(self._sinks[run_id].log)

    def bodies(self, run_id):
        return self._sinks[run_id].pool

    def forged(self, run, events):
        """Put a run here whose log is another run's, changed; it is numbered and sealed anew."""
        header = msgspec.structs.replace(_Sink.template, name=run.name, agent=run.info["agent"])
        sink = self.writer(header)
        sink.append(
            [
                msgspec.structs.replace(event, writer="forged", writer_seq=number, digest=None)
                for number, event in enumerate(events, start=1)
            ],
            run.bodies(),
        )
        return self.run(sink.run_id)


class _Sink:
    from workbench.schema import RunHeader

    template = RunHeader()

    def __init__(self, header):
        self.run_id = new_run_id()
        self.header = msgspec.structs.replace(header, run_id=self.run_id)
        self.log = []
        self.pool = {}

    def append(self, events, bodies=None):
        self.pool.update(bodies or {})
        for event in events:
            whole = event if event.digest else hashing.sealed(event)
            self.log.append(msgspec.structs.replace(whole, seq=len(self.log) + 1))

    def close(self):
        pass
