"""All that can be done with a request before the database is asked: read, check, compress."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench.schema import Event
from workbench_server.ingest.batch import parse_batch
from workbench_server.ingest.checking import check_bodies, check_events
from workbench_server.ingest.plain import summary_of
from workbench_server.ingest.writing import Prepared
from workbench_server.limits import DEFAULT, Limits
from workbench_server.squeezing import squeezed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from workbench.redaction import Rule
    from workbench_server.ingest.batch import Batch
    from workbench_server.ingest.checking import Checked

_LARGE = 2**19  # bytes
_MANY = 32  # events


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A request to append, as it came."""

    workspace_id: UUID
    run_id: UUID
    data: bytes
    lines: bool = False
    atomic: bool | None = None
    limits: Limits = DEFAULT
    rules: Sequence[Rule] = ()


async def prepared(sent: Sent) -> Prepared:
    """Prepare a batch; a large one must not hold up everybody else's small ones."""
    if len(sent.data) >= _LARGE:
        return await asyncio.to_thread(prepare, sent)
    batch = _parsed(sent)
    payloads = _final_payloads(batch)
    if len(payloads) < _MANY:
        return packed(checked(sent, batch))
    # They are compressed in another thread while they are checked here.
    packing = asyncio.get_running_loop().run_in_executor(None, squeezed, payloads)
    try:
        found = checked(sent, batch)
    finally:
        done = await packing
    return packed(found, None if found.unsound else done)


def prepare(sent: Sent) -> Prepared:
    """Prepare a batch here and now."""
    return packed(checked(sent, _parsed(sent)))


def _parsed(sent: Sent) -> Batch:
    return parse_batch(sent.data, lines=sent.lines, most=sent.limits.batch_events)


def _final_payloads(batch: Batch) -> list[bytes]:
    """Return the payloads where all are stored as they came: their sender sealed the events."""
    payloads = []
    for event in batch.events:
        if not isinstance(event, Event) or event.digest is None:
            return []
        payloads.append(bytes(event.payload))
    return payloads


def checked(sent: Sent, batch: Batch) -> Prepared:
    """Check every part of a batch by itself; payloads are not compressed yet."""
    nesting = sent.limits.nesting
    events, unsound = check_events(batch.events, nesting=nesting, rules=sent.rules)
    bodies = check_bodies(batch.bodies, nesting=nesting, rules=sent.rules)
    size = sum(one.size for one in events) + sum(len(bytes(b)) for b in batch.bodies.values())
    plain = None if unsound else summary_of(events, run_id=sent.run_id, bodies=bodies, size=size)
    return Prepared(
        workspace_id=sent.workspace_id,
        run_id=sent.run_id,
        atomic=batch.atomic if sent.atomic is None else sent.atomic,
        checked=events,
        unsound=unsound,
        bodies=bodies,
        bytes=size,
        summary=plain,
    )


def packed(batch: Prepared, payloads: list[bytes] | None = None) -> Prepared:
    """Return a batch whose payloads are compressed, those given or its own."""
    pack(batch.checked, payloads)
    return batch


def pack(events: Sequence[Checked], payloads: list[bytes] | None = None) -> None:
    """Put compressed payloads in the place of the events' own."""
    if payloads is None:
        payloads = squeezed([one.payload for one in events])
    for one, payload in zip(events, payloads, strict=True):
        one.payload = payload
