"""A program that was recorded, what of it depends on what, and where a replay says it differs."""

import re
from dataclasses import dataclass
from functools import cached_property

import msgspec
from forging import body, calls_of
from laws import programs
from shelf import Shelf

import workbench as wb
from workbench import hashing

_KEY = re.compile(r"«(p[.\d]*#\d+)»")
OUTPUT = "the end"


@dataclass
class Recorded:
    """A recorded program; calls go by the key that the program gave them."""

    run: object
    entry: str
    made: dict
    shown: frozenset

    @cached_property
    def pairs(self):
        """The start and the end of each call, by its key."""
        return {self._key(start, end): (start, end) for start, end in calls_of(self.run)}

    def _key(self, start, end):
        text = bytes(end.payload).decode()
        for chunk in self.chunks_of(start):
            text += bytes(chunk.payload).decode()
        digest = (body(end).get("outcome") or {}).get("message")
        text += "" if digest is None else str(self.run.bodies()[digest])
        (key,) = set(_KEY.findall(text))
        return key

    def chunks_of(self, start):
        log = self.run.event_log()
        return [e for e in log if e.event_type == "chunk" and e.step_id == start.step_id]

    def position(self, key):
        start, _ = self.pairs[key]
        return start.lane, start.ordinal

    def alike(self, key):
        """Return the other calls that asked the same."""
        asked = self.pairs[key][0].signature
        return [k for k, (start, _) in self.pairs.items() if k != key and start.signature == asked]

    def after(self, *keys):
        """Return the calls that came after any of these."""
        return {key for key, made in self.made.items() if made.past & {*keys}}

    def depending_on(self, *keys):
        """Return where it would first be seen that these gave back something else.

        Those calls whose requests hold it and come before all others that do; several may, side by
        side. Else the end where it is shown; else nothing.
        """
        readers = {key: made for key, made in self.made.items() if made.reads & {*keys}}
        first = {key for key, made in readers.items() if not made.past & readers.keys()}
        return first or ({OUTPUT} if self.shown & {*keys} else set())


def recorded(program, entry, seed):
    """Record a program; from then on nothing of it can be called."""
    programs.world.opened(seed)
    try:
        run = wb.record(Shelf(), f"laws.programs:{entry}", program)
    finally:
        programs.world.poisoned()
    return Recorded(run, entry, dict(programs.world.made), programs.world.shown)


def replayed(run, **how):
    """Replay a run and make sure that nothing was called."""
    lived = programs.world.lived
    result = wb.replay(run, into=Shelf(), **how)
    assert programs.world.lived == lived
    return result


def named(found, run):
    """Return the key of the recorded call that a divergence names, or that it names the end."""
    if found.seq == len(run.run.event_log()):
        return OUTPUT
    keys = {start.seq: key for key, (start, _) in run.pairs.items()}
    return keys.get(found.seq)


def asked_at(found):
    """Return the lane and ordinal of the call that found nothing, or of the one never asked for."""
    where = found.expected if found.actual is None else found.actual
    return where["lane"], where["ordinal"]


def with_payload(event, value):
    return msgspec.structs.replace(event, payload=msgspec.Raw(hashing.dumps(value)))


def certified(run):
    """Replay a run into its own store, and return the new run: its certificate lies there too."""
    return wb.replay(run).run
