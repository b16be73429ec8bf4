"""Cut a long append into requests that a server takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from workbench.schema import Event

_MOST_EVENTS = 5_000
_MOST_BYTES = 16 * 2**20

_encoder = msgspec.json.Encoder()


class Batch(msgspec.Struct, kw_only=True):
    """The body of one request, its parts encoded already."""

    events: list[msgspec.Raw] = []
    bodies: dict[str, msgspec.Raw] = {}
    atomic: bool = True


def cut(events: Iterable[Event], bodies: Mapping[str, dict[str, Any]]) -> Iterator[Batch]:
    """Yield batches, the bodies first: an event is refused while a body it names is missing."""
    batch, size = Batch(), 0
    for digest, body in bodies.items():
        raw = msgspec.Raw(_encoder.encode(body))
        if size + len(raw) > _MOST_BYTES and size:
            yield batch
            batch, size = Batch(), 0
        batch.bodies[digest] = raw
        size += len(raw)
    for event in events:
        raw = msgspec.Raw(_encoder.encode(event))
        if size and (size + len(raw) > _MOST_BYTES or len(batch.events) == _MOST_EVENTS):
            yield batch
            batch, size = Batch(), 0
        batch.events.append(raw)
        size += len(raw)
    if size:
        yield batch
