"""Take a request apart into events and raw bodies, JSON or NDJSON."""

from __future__ import annotations

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from workbench.errors import InvalidEvent, LimitExceeded
from workbench.schema import Event  # noqa: TC001 - msgspec reads it


class Batch(Struct, frozen=True, forbid_unknown_fields=True):
    """Events and bodies as they came.

    Events are read all at once where all can be; else none is, and each has to be tried.
    """

    events: list[Event] | list[Raw]
    bodies: dict[str, Raw] = {}
    atomic: bool = True


class _Read(Batch, frozen=True, forbid_unknown_fields=True):
    events: list[Event]


class _Raw(Batch, frozen=True, forbid_unknown_fields=True):
    events: list[Raw]


class _Line(Struct, frozen=True):
    bodies: dict[str, Raw] | UnsetType = UNSET
    event_type: Raw | UnsetType = UNSET


_read_decoder = msgspec.json.Decoder(_Read)
_raw_decoder = msgspec.json.Decoder(_Raw)
_line_decoder = msgspec.json.Decoder(_Line)


def parse_batch(data: bytes, *, lines: bool, most: int) -> Batch:
    """Read a request's body, and refuse what is no batch or too long a one."""
    try:
        batch = _parse_lines(data) if lines else _parse_document(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidEvent(
            "the batch is malformed",
            expected='{"events": […], "bodies": {…}} or one event a line',
            found=str(error),
        ) from error
    except RecursionError as error:
        raise LimitExceeded("the JSON is nested too deep") from error
    if len(batch.events) > most:
        raise LimitExceeded(
            "the batch has too many events",
            expected=f"at most {most}",
            found=len(batch.events),
            hint="Send smaller batches.",
        )
    return batch


def _parse_document(data: bytes) -> Batch:
    try:
        return _read_decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, OverflowError):
        return _raw_decoder.decode(data)


def _parse_lines(data: bytes) -> Batch:
    events: list[Raw] = []
    bodies: dict[str, Raw] = {}
    for number, line in enumerate(data.splitlines(), start=1):
        if not line.strip():
            continue
        parsed = _parse_line(line, number)
        if parsed.bodies is not UNSET and parsed.event_type is UNSET:
            bodies.update(parsed.bodies)
        else:
            events.append(Raw(line))
    return Batch(events, bodies)


def _parse_line(line: bytes, number: int) -> _Line:
    try:
        return _line_decoder.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidEvent(
            "a line is no event",
            where=f"line {number}",
            expected='one event, or {"bodies": {…}}',
            found=str(error),
            hint="Nothing of this request was stored; mend the line and send it again.",
        ) from error
