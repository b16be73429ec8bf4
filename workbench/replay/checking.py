"""Checks of a run's own log: everything that its bytes tell against themselves.

No hash that the log names is believed: all are computed again from what is stored.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import orjson

from workbench import hashing, recording, sharing
from workbench.errors import WorkbenchError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from workbench.recording import Recording
    from workbench.schema import Event

    Bodies = Mapping[str, dict[str, Any]]

_ONCE = ("run_started", "run_ended")
_UNREADABLE = (WorkbenchError, LookupError, TypeError, ValueError, AttributeError, RecursionError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at; of what is wrong the first place is told."""

    name: str
    ok: bool
    where: str | None = None
    expected: Any = None
    found: Any = None

    def as_dict(self) -> dict[str, Any]:
        """Return the check as JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Where something is wrong, and both sides of it."""

    where: str
    expected: Any
    found: Any


def check_of(name: str, faults: Iterable[Fault]) -> Check:
    """Return a check that fails with the first of its faults, if there is one."""
    first = next(iter(faults), None)
    if first is None:
        return Check(name=name, ok=True)
    return Check(name=name, ok=False, where=first.where, expected=first.expected, found=first.found)


def same(name: str, expected: Any, found: Any, *, where: str | None = None) -> Check:
    """Return a check that two values are equal; they are told where they are not."""
    if expected == found:
        return Check(name=name, ok=True)
    return Check(name=name, ok=False, where=where, expected=expected, found=found)


def check_log(events: Sequence[Event], bodies: Bodies) -> tuple[list[Check], Recording | None]:
    """Check a run's log, and read it by the digests that were computed.

    Parameters
    ----------
    events
        In the order of their store.
    bodies
        Digest → pooled message.

    Returns
    -------
    tuple
        The checks, and the recording, or None where it cannot be read.
    """
    sealed = [_sealed(event) for event in events]
    checks = [
        check_of("events", _other_digests(events, sealed)),
        check_of("order", _out_of_order(events)),
        check_of("end", _end_missing(events)),
        check_of("positions", _taken_twice(events)),
        check_of("bodies", _other_bodies(bodies)),
    ]
    try:
        read = recording.read(sealed, bodies)
        named = check_of("named", _not_there(events, bodies))
        signed = check_of("signatures", _other_signatures(read, events))
    except _UNREADABLE as error:
        return [*checks, Check(name="readable", ok=False, found=hashing.repr_of(error))], None
    return [*checks, named, signed], read


def _sealed(event: Event) -> Event:
    digest = hashing.event_digest(event)
    return event if event.digest == digest else msgspec.structs.replace(event, digest=digest)


def _other_digests(events: Sequence[Event], sealed: Sequence[Event]) -> Iterator[Fault]:
    for event, anew in zip(events, sealed, strict=True):
        if event is not anew and event.digest is not None:
            yield Fault(where=f"seq {event.seq}", expected=event.digest, found=anew.digest)


def _out_of_order(events: Sequence[Event]) -> Iterator[Fault]:
    """Find where ``seq`` does not count from 1, or a writer's own numbers do not along it."""
    numbers: dict[str, int] = {}
    for seq, event in enumerate(events, 1):
        if event.seq != seq:
            yield Fault(where=f"event {seq}", expected=f"seq {seq}", found=f"seq {event.seq}")
        number = numbers.get(event.writer, 0) + 1
        numbers[event.writer] = event.writer_seq
        if event.writer_seq != number:
            where = f"seq {event.seq}, writer {event.writer}"
            yield Fault(where=where, expected=number, found=event.writer_seq)


def _end_missing(events: Sequence[Event]) -> Iterator[Fault]:
    """Find that a log does not end, or lacks what its end says there is."""
    last: dict[str, int] = {}
    announced: dict[str, int] = {}
    for event in events:
        last[event.writer] = event.writer_seq
        if event.event_type == "run_ended":
            announced |= _announced(event)
    if not any(event.event_type == "run_ended" for event in events):
        yield Fault(where="the end", expected="run_ended", found="none: something may be missing")
    for writer, number in announced.items():
        if last.get(writer, 0) < number:
            yield Fault(where=f"writer {writer}", expected=number, found=last.get(writer, 0))


def _announced(event: Event) -> dict[str, int]:
    try:
        named = orjson.loads(bytes(event.payload)).get("writers", {})
        return {str(writer): int(number) for writer, number in named.items()}
    except _UNREADABLE:
        return {}


def _taken_twice(events: Sequence[Event]) -> Iterator[Fault]:
    """Find what stands twice where there is room for one: calls, ends of steps, a run's ends."""
    seen: set[tuple[Any, ...]] = set()
    for event in events:
        kind = event.event_type
        places: list[tuple[Any, ...]] = []
        if kind == "call_started":
            places = [(kind, event.lane, event.ordinal), (kind, event.step_id)]
        elif kind in ("step_started", "call_ended", "step_ended"):
            places = [(kind, event.step_id)]
        elif kind in _ONCE:
            places = [(kind, event.writer)]
        for place in places:
            if place in seen and place[-1] is not None:
                yield Fault(where=f"seq {event.seq}", expected="once", found=f"twice: {place}")
            seen.add(place)


def _other_bodies(bodies: Bodies) -> Iterator[Fault]:
    for digest, body in bodies.items():
        found = hashing.digest_of(body)
        if found != digest:
            yield Fault(where=f"message {digest}", expected=digest, found=found)


def _other_signatures(read: Recording, events: Iterable[Event]) -> Iterator[Fault]:
    """Find a signature that is not that of its request, where the request is all there."""
    cut = {event.step_id for event in events if event.quality == "truncated"}
    for call in read.calls:
        if call.step_id in cut or sharing.lacks_beginning(call.request):
            continue
        found = hashing.signature_of(kind=call.kind, name=call.name, request=call.request)
        if found != call.signature:
            yield Fault(where=f"seq {call.seq}", expected=call.signature, found=found)


# ---- which messages a log names


def _not_there(events: Iterable[Event], bodies: Bodies) -> Iterator[Fault]:
    for event in events:
        for digest in _named(event):
            if digest not in bodies:
                yield Fault(where=f"seq {event.seq}", expected=f"message {digest}", found="none")


def _named(event: Event) -> Iterator[str]:
    """Return the digests of pooled messages that an event names."""
    payload = bytes(event.payload)
    if b'"message' not in payload:  # as a key, or as the tag of a message
        return
    body = orjson.loads(payload)
    match event.event_type:
        case "call_started":
            yield from _digests(body["request"].get("messages"))
        case "call_ended":
            yield from _digests([(body.get("outcome") or {}).get("message")])
        case "run_started" if body.get("pooled"):
            yield from _digests(body["input"]["messages"])
        case "annotated":
            yield from _digests([body.get("message")])
        case "run_ended" | "step_ended":
            yield from _within(body.get("output"))
        case _:
            pass


def _within(output: Any) -> list[str]:
    found: list[str] = []

    def seen(digest: str) -> str:
        found.append(digest)
        return digest

    sharing.renamed(output, seen)
    return found


def _digests(values: Any) -> Iterator[str]:
    if isinstance(values, list):
        yield from (one for one in values if isinstance(one, str) and hashing.is_sha256(one))
