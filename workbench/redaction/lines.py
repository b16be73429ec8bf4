"""Redact events that were sealed already, as a spool holds them: lines of JSON, sealed again. Pure.

No event comes or goes, so every number stays its event's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from workbench import hashing
from workbench.redaction.events import EventRedaction
from workbench.schema import EMPTY, Event

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from workbench.redaction.layers import Redaction

_event = msgspec.json.Decoder(Event)
_encode = msgspec.json.Encoder().encode
# what tells in a log by which rules it was redacted: whatever of the two is still here
_TELLING = frozenset(("run_started", "run_ended"))
_BODIES = b'{"bodies"'


class LinesRedaction:
    """Redacts the lines of one writer, in their order, as much at a time as is there."""

    def __init__(self, redaction: Redaction) -> None:
        self._events = EventRedaction(redaction, stored=True)
        self._told = False

    @property
    def changed(self) -> int:
        """How many events came out other than they went in."""
        return self._events.changed

    def run(
        self, events: Sequence[Event], bodies: Mapping[str, Any]
    ) -> tuple[list[Event], dict[str, Any]]:
        """Return events and the bodies they name as they may be stored."""
        named = [_encode({"bodies": {digest: body}}) for digest, body in bodies.items()]
        given = b"".join(line + b"\n" for line in [*named, *map(_encode, events)])
        made: list[Event] = []
        kept: dict[str, Any] = {}
        for line in self.lines(given).splitlines():
            if line.startswith(_BODIES):
                kept |= msgspec.json.decode(line)["bodies"]
            else:
                made.append(_event.decode(line))
        return made, kept

    def lines(self, raw: bytes) -> bytes:
        """Return lines as they may be stored; a line that is no event stays out.

        The pieces of a stream are read as one as far as they are among these lines.
        """
        made: list[bytes] = []
        bodies: dict[str, Any] = {}
        events = [(line, _decoded(line)) for line in raw.splitlines()]
        pieces = self._events.pieces([e for _, e in events if e and e.event_type == "chunk"])
        for line, event in events:
            if line.startswith(_BODIES):
                bodies |= msgspec.json.decode(line)["bodies"]
            elif event is not None:
                new = pieces.get(event.writer_seq)
                found, kept = (new, {}) if new is not None else self._one(event, bodies)
                made += [_encode({"bodies": {digest: body}}) for digest, body in kept.items()]
                made.append(line if found is event else _encode(found))
                bodies = {}
        return b"".join(line + b"\n" for line in made)

    def _one(self, event: Event, bodies: dict[str, Any]) -> tuple[Event, dict[str, Any]]:
        fields = _fields(event)
        new, body, kept = self._events.one((fields, bytes(event.payload), bodies))
        if event.event_type in _TELLING and not self._told:
            body, self._told = self._events.announced(body), True
        if new is fields and body == bytes(event.payload):
            return event, dict(kept)
        return _sealed(new, body), dict(kept)


def _decoded(line: bytes) -> Event | None:
    try:
        return _event.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _fields(event: Event) -> dict[str, Any]:
    fields = msgspec.structs.asdict(event)
    return {name: value for name, value in fields.items() if name not in ("payload", "digest")}


def _sealed(fields: dict[str, Any], payload: bytes) -> Event:
    return hashing.sealed_with(Event(**fields, payload=EMPTY), payload)
