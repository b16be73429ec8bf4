"""Check one event or body by itself: its form, its digest, what it refers to."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import msgspec
import zstandard
from msgspec import Raw

from workbench.errors import InvalidEvent, LimitExceeded, WorkbenchError
from workbench.hashing import dumps, event_digest
from workbench.schema import (
    ENDED_STATUSES,
    Annotated,
    CallEnded,
    CallStarted,
    Event,
    RunStarted,
    parse_body,
    parse_event,
)
from workbench_server.limits import check_nesting, check_text

_SHA256_HEX = 64
_MOST_BYTES = {"writer": 256, "step_id": 1_000, "parent_step_id": 1_000, "attempt_of": 1_000}
_TEXTS = ("writer", "step_id", "parent_step_id", "attempt_of", "name", "lane")
_compressor = zstandard.ZstdCompressor(level=1, write_content_size=True, write_checksum=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """An event that is sound by itself; `payload` is compressed, `refers` are body digests."""

    index: int
    event: Event
    body: Any
    refers: tuple[str, ...]
    payload: bytes


def check_events(raws: list[Raw]) -> tuple[list[Checked], list[tuple[int, WorkbenchError]]]:
    """Check each event of a batch; those that are unsound come back with their index and error."""
    sound: list[Checked] = []
    unsound: list[tuple[int, WorkbenchError]] = []
    for index, raw in enumerate(raws):
        try:
            sound.append(check_event(raw, index=index))
        except WorkbenchError as error:
            unsound.append((index, error))
    return sound, unsound


def check_event(raw: Raw, *, index: int) -> Checked:
    where = f"events[{index}]"
    check_nesting(bytes(raw), where=where)
    event = _sealed(_parsed(raw, where), where)
    _check_columns(event, where)
    body = parse_body(event, where=where)
    if event.event_type == "run_ended" and event.status not in ENDED_STATUSES:
        raise InvalidEvent(
            "run_ended carries no final status",
            where=where,
            expected=list(ENDED_STATUSES),
            found=event.status,
        )
    return Checked(
        index=index,
        event=event,
        body=body,
        refers=_refers(event, body, where),
        payload=_compressor.compress(bytes(event.payload)),
    )


def _parsed(raw: Raw, where: str) -> Event:
    try:
        return parse_event(raw, where=where)
    except OverflowError as error:
        raise InvalidEvent("started_at is out of range", where=where, found=str(error)) from error


def _sealed(event: Event, where: str) -> Event:
    """Return the event without server fields and with its digest, computed where it had none."""
    if event.seq is not None or event.received_at is not None:
        event = msgspec.structs.replace(event, seq=None, received_at=None)
    if event.digest is None:
        payload = Raw(_canonical(event.payload, where))
        event = msgspec.structs.replace(event, payload=payload)
        return msgspec.structs.replace(event, digest=event_digest(event))
    computed = event_digest(event)
    if computed != event.digest:
        raise InvalidEvent(
            "the digest is not that of the event",
            where=where,
            expected=computed,
            found=event.digest,
            hint="Leave the digest out, and the server computes it.",
        )
    return event


def _canonical(raw: Raw, where: str) -> bytes:
    try:
        return dumps(msgspec.json.decode(raw))
    except RecursionError as error:
        raise LimitExceeded("the JSON is nested too deep", where=where) from error
    except (msgspec.MsgspecError, UnicodeDecodeError, TypeError, ValueError) as error:
        raise InvalidEvent(
            "the JSON has no canonical form",
            where=where,
            found=str(error),
            hint="Write what JSON has not as {'$type': …, '$value': …}.",
        ) from error


def _check_columns(event: Event, where: str) -> None:
    """Refuse what a column cannot hold."""
    for name in _TEXTS:
        text = getattr(event, name)
        if text is not None:
            check_text(text, where=f"{where}.{name}", most=_MOST_BYTES.get(name, 10_000))
    if event.signature is not None and not is_sha256(event.signature):
        raise InvalidEvent(
            "the signature is no hex sha-256", where=where, found=event.signature[:80]
        )


def is_sha256(text: str) -> bool:
    """Say whether a text is a sha-256 in lower-case hex."""
    return len(text) == _SHA256_HEX and not set(text) - set("0123456789abcdef")


def _refers(event: Event, body: Any, where: str) -> tuple[str, ...]:
    match body:
        case CallStarted():
            digests: Any = body.request.get("messages") or ()
            if event.kind != "model" and not _are_digests(digests):
                return ()  # another kind's own parameter of that name
        case CallEnded(outcome={"message": digest}):
            digests = (digest,)
        case RunStarted(pooled=True):
            digests = body.input.get("messages") if isinstance(body.input, dict) else None
        case Annotated(message=str() as digest):
            digests = (digest,)
        case _:
            return ()
    if not _are_digests(digests):
        raise InvalidEvent(
            "messages are not digests", where=where, expected="hex sha-256 of pooled bodies"
        )
    return tuple(digests)


def _are_digests(values: Any) -> bool:
    return isinstance(values, (list, tuple)) and all(map(_is_digest, values))


def _is_digest(value: Any) -> bool:
    return isinstance(value, str) and is_sha256(value)


def check_bodies(raws: dict[str, Raw]) -> dict[str, bytes]:
    """Return digest → compressed canonical body, or refuse a body of another digest."""
    return {digest: _check_body(digest, raw) for digest, raw in sorted(raws.items())}


def _check_body(digest: str, raw: Raw) -> bytes:
    where = f"bodies[{digest[:80]!r}]"
    check_nesting(bytes(raw), where=where)
    canonical = _canonical(raw, where)
    found = hashlib.sha256(canonical).hexdigest()
    if not canonical.startswith(b"{"):
        raise InvalidEvent("a message body is no object", where=where)
    if found != digest:
        raise InvalidEvent(
            "the digest is not that of the body", where=where, expected=found, found=digest[:80]
        )
    return _compressor.compress(canonical)
