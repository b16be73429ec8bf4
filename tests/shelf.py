"""A store in memory: what recording and replaying need of one, and room for forged logs."""

from __future__ import annotations

import msgspec
import polars as pl

from workbench import frames, hashing
from workbench.errors import ArtifactNotFound, RunNotFound
from workbench.store.ids import new_run_id
from workbench.store.run import Run


class Shelf:
    """Runs in memory, written as to any store."""

    read_only = False
    address = "memory"
    workspace_id = "memory"

    def __init__(self):
        self._sinks = {}
        self._artifacts = {}

    def writer(self, header):
        sink = _Sink(header)
        self._sinks[sink.run_id] = sink
        return sink

    def run(self, run_id):
        if run_id not in self._sinks:
            raise RunNotFound("no such run", wanted=run_id)
        return Run(self, self.row(run_id))

    def runs(self, *, label=None, status=None):
        rows = pl.DataFrame([self.row(run_id) for run_id in self._sinks], schema=frames.RUNS)
        key, _, value = (label or "").partition(":")
        wanted = (
            pl.lit(True) if label is None else pl.col("labels").str.contains(f'"{key}":"{value}"')
        )
        return rows.filter(wanted & (True if status is None else pl.col("status") == status))

    def row(self, run_id):
        sink = self._sinks[run_id]
        return frames.run_row(sink.header, self.events(run_id))

    def events(self, run_id, *, after=None, limit=None, **wanted):
        log = self._sinks[run_id].log
        log = [event for event in log if after is None or event.seq > after]
        return frames.from_events(log[:limit])

    def bodies(self, run_id):
        return self._sinks[run_id].pool

    def messages(self, run_id):
        return ((digest, msgspec.json.encode(body)) for digest, body in self.bodies(run_id).items())

    def put_artifact(self, data):
        self._artifacts[hashing.sha256_hex(data)] = data
        return hashing.sha256_hex(data)

    def get_artifact(self, sha256):
        if sha256 not in self._artifacts:
            raise ArtifactNotFound("no such artifact", wanted=sha256)
        return self._artifacts[sha256]

    def patch(self, run_id, change):
        sink = self._sinks[run_id]
        labels = {**sink.header.labels, **change.labels}
        sink.header = msgspec.structs.replace(sink.header, labels=labels)
        return self.row(run_id)

    @staticmethod
    def header_of(run):
        return msgspec.structs.replace(_Sink.template, name=run.name, agent=run.info["agent"])

    def forged(self, run, events):
        """Put a run here whose log is another run's, changed; it is numbered and sealed anew."""
        sink = self.writer(self.header_of(run))
        sink.append(
            [_forged(event, number) for number, event in enumerate(events, start=1)],
            run.bodies(),
        )
        return self.run(sink.run_id)


def _forged(event, number):
    payload = event.payload
    if event.event_type == "run_ended":  # it names the last number of each writer
        body = msgspec.json.decode(payload)
        payload = msgspec.Raw(hashing.dumps_in_order({**body, "writers": {"forged": number}}))
    return msgspec.structs.replace(
        event, writer="forged", writer_seq=number, payload=payload, digest=None
    )


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
