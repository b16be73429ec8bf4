"""Many runs in memory, put there as importers make them and read as they were written."""

import msgspec
from shelf import Shelf

from workbench import hashing
from workbench.schema import RunHeader
from workbench.store.run import Run


class BareShelf(Shelf):
    """Runs in memory without frames, for many of them: read as they were written."""

    def run(self, run_id):
        return BareRun(self, self._sinks[run_id])

    def row(self, run_id):
        sink = self._sinks[run_id]
        fields = {name: getattr(sink.header, name) for name in RunHeader.__struct_fields__}
        return fields | {"status": sink.log[-1].status if sink.log else "running"}

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
    return BareShelf().put(RunHeader(name=run.name), log, run.bodies())


class BareRun(Run):
    """A run whose events and messages are at hand."""

    def __init__(self, store, sink):
        super().__init__(store, store.row(sink.run_id))
        self._sink = sink

    def event_log(self):
        return self._sink.log

    def bodies(self):
        return self._sink.pool
