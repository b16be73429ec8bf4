"""A recorded log as calls, and a run forged of a changed log: sealed and numbered anew."""

from __future__ import annotations

import msgspec
from shelf import Shelf


def calls_of(run):
    """Return the recorded calls in order of seq, each as its two events."""
    started, pairs = {}, []
    for event in run.event_log():
        if event.event_type == "call_started":
            started[event.step_id] = event
            pairs.append(event.step_id)
    ended = {e.step_id: e for e in run.event_log() if e.event_type == "call_ended"}
    return [(started[step], ended[step]) for step in pairs if step in ended]


def forged(run, *, replaced=(), dropped=(), after=None, bodies=None):
    """Return the run with events replaced, dropped, or added behind others (by seq).

    ``bodies`` are pooled messages that join those of the run.
    """
    replaced, after = dict(replaced), after or {}
    log = []
    for event in run.event_log():
        if event.seq not in dropped:
            log.append(replaced.get(event.seq, event))
        log.extend(after.get(event.seq, ()))
    made = Shelf().forged(run, log)
    made.store.bodies(made.run_id).update(bodies or {})
    return made


def changed(event, **fields):
    return msgspec.structs.replace(event, **fields)


def body(event):
    return msgspec.json.decode(event.payload)
