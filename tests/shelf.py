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


class BareShelf(Shelf):
    """Runs in memory without frames, for many of them: read as they were written."""

    def run(self, run_id):
        return BareRun(self, self._sinks[run_id])

    def put(self, header, events, bodies):
        """Put a run here as an importer made it."""
        sink = self.writer(header)
        sink.append(events, bodies)
        return self.run(sink.run_id)


def with_request(run, call, request):
    """Return a copy of a run in which one call asked for something else, signed anew."""
    signed = {"kind": call.kind, "name": call.name, "request": request}
    starts = {
        "payload": msgspec.Raw(hashing.dumps({"request": request})),
        "signature": hashing.signature_of(**signed),
        "digest": None,
    }
    ends = {"content_hash": hashing.content_hash(**signed, outcome=call.outcome), "digest": None}
    changes = {call.seq: starts, call.ended_seq: ends}
    log = [
        msgspec.structs.replace(event, **changes.get(event.seq, {})) for event in run.event_log()
    ]
    return BareShelf().put(
        msgspec.structs.replace(_Sink.template, name=run.name), log, run.bodies()
    )


class BareRun:
    """What a replay needs of a run."""

    def __init__(self, store, sink):
        self.store, self.run_id, self.name = store, sink.run_id, sink.header.name
        self._sink = sink

    @property
    def status(self):
        return self._sink.log[-1].status

    def event_log(self):
        return self._sink.log

    def bodies(self):
        return self._sink.pool


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
