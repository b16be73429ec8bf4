"""What goes to a server in one request: a part of a long append, or several runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from workbench.errors import WorkbenchError
from workbench.store.protocol import Receipt

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from workbench.schema import Event, RunHeader

_MOST_EVENTS = 5_000
_MOST_BYTES = 16 * 2**20

_encoder = msgspec.json.Encoder()


class Batch(msgspec.Struct, kw_only=True):
    """The body of one request, its parts encoded already."""

    events: list[msgspec.Raw] = []
    bodies: dict[str, msgspec.Raw] = {}
    atomic: bool = True


class Entry(msgspec.Struct, kw_only=True):
    """A run's header, and all its events, encoded already."""

    header: RunHeader
    events: list[msgspec.Raw]


class Parcel(msgspec.Struct, kw_only=True):
    """The body of one request that carries several runs, with the message bodies of all of them."""

    runs: list[Entry] = []
    bodies: dict[str, msgspec.Raw] = {}

    def add(self, entry: Entry, bodies: Mapping[str, msgspec.Raw]) -> None:
        """Put a run in, and the bodies that it names."""
        self.runs.append(entry)
        self.bodies.update(bodies)

    def parts(self) -> list[Parcel]:
        """Return the runs as two parcels; the bodies go with both."""
        half = len(self.runs) // 2
        return [
            Parcel(runs=runs, bodies=self.bodies) for runs in (self.runs[:half], self.runs[half:])
        ]


def encoded(
    events: Iterable[Event], bodies: Mapping[str, dict[str, Any]]
) -> tuple[list[msgspec.Raw], dict[str, msgspec.Raw], int]:
    """Return events and bodies as they travel, and how many bytes they are."""
    raws = [msgspec.Raw(_encoder.encode(event)) for event in events]
    pool = {digest: msgspec.Raw(_encoder.encode(body)) for digest, body in bodies.items()}
    return raws, pool, sum(map(len, raws)) + sum(map(len, pool.values()))


def receipt_of(said: dict[str, Any]) -> Receipt | WorkbenchError:
    """Return what a server said of one run of a parcel."""
    if "error" in said:
        return WorkbenchError.from_problem(said["error"])
    return msgspec.convert(said, Receipt)


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
