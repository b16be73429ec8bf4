"""Check one event or body by itself: its form, its digest, what it refers to."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC
from typing import TYPE_CHECKING, Any, cast

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import force_setattr

from workbench import sharing
from workbench.errors import InvalidEvent, LimitExceeded, WorkbenchError
from workbench.hashing import digest_of_parts, dumps, is_sha256
from workbench.schema import (
    EMPTY,
    ENDED_STATUSES,
    SCHEMA_VERSION,
    Annotated,
    CallEnded,
    CallStarted,
    Event,
    RunStarted,
    parse_body,
    parse_event,
    sound_envelope,
)
from workbench_server import redacting
from workbench_server.entities import check_artifact
from workbench_server.limits import check_nesting, check_text
from workbench_server.squeezing import squeezed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from workbench.redaction import Rule

_are_sha256 = re.compile(r"(?:[0-9a-f]{64}(?:,[0-9a-f]{64})*+)?+").fullmatch
_MOST_BYTES = {"writer": 256, "step_id": 1_000, "parent_step_id": 1_000, "attempt_of": 1_000}
_TEXTS = ("writer", "step_id", "parent_step_id", "attempt_of", "name", "lane")
_SHORT = 1_000  # an envelope of this length can break no limit but the writer's,
_SHORT_WRITER = 64  # and a writer's name of so many characters not that one either
_LOOKED_AT = frozenset(("artifact_created", "run_ended"))
_NO_DIGESTS = object()
_encoder = msgspec.json.Encoder()


class Checked(Struct, kw_only=True, gc=False):  # parsed JSON holds no circles
    """An event that is sound by itself.

    ``event`` has neither payload nor digest any more: ``envelope`` is its JSON, ``digest`` its hex
    sha-256, ``payload`` the body's, compressed once `squeezed` has been here, ``size`` the bytes of
    both as JSON. ``refers`` are the digests of bodies it names. Of what was read of the body, only
    what is used later is kept, since it is many objects: ``usage``, and ``body`` where a run ended
    or an artifact was made.
    """

    index: int
    event: Event
    body: Any
    usage: dict[str, Any] | None
    refers: tuple[str, ...]
    envelope: bytes
    digest: bytes
    payload: bytes
    size: int


def check_events(
    came: Sequence[Event | Raw], *, nesting: int, rules: Sequence[Rule] = ()
) -> tuple[list[Checked], list[tuple[int, WorkbenchError]]]:
    """Check each event of a batch; those that are unsound come back with their index and error."""
    sound: list[Checked] = []
    unsound: list[tuple[int, WorkbenchError]] = []
    for index, one in enumerate(came):
        try:
            sound.append(check_event(one, index=index, nesting=nesting, rules=rules))
        except WorkbenchError as error:
            unsound.append((index, error))
    return sound, unsound


def check_event(
    came: Event | Raw, *, index: int, nesting: int, rules: Sequence[Rule] = ()
) -> Checked:
    where = f"events[{index}]"
    is_usual = isinstance(came, Event) and _is_usual(came)
    event = cast("Event", came) if is_usual else _parsed(came, where, nesting)
    payload, said = bytes(event.payload), event.digest
    check_nesting(payload, where=where, most=nesting - 1)  # the event itself is a level
    body = parse_body(event, where=where)
    if event.event_type in _LOOKED_AT:
        _look_at(event, body, where)
    if said is None:
        payload = _canonical(payload, where)
    envelope = _split_off(event)
    if not _fits_columns(event, envelope):
        _check_columns(event, where)
    digest = _proved(envelope, payload, said=said, where=where)
    if rules:
        redacting.check_event(event.event_type, payload, rules, digest=digest, where=where)
    return Checked(
        index=index,
        event=event,
        body=body if event.event_type in _LOOKED_AT else None,
        usage=body.usage if event.event_type == "call_ended" else None,
        refers=_refers(event, body, where),
        envelope=envelope,
        digest=digest.encode(),
        payload=payload,
        size=len(envelope) + len(payload),
    )


def _is_usual(event: Event) -> bool:
    """Say whether nothing about the envelope needs a closer look."""
    at = event.started_at
    if event.version != SCHEMA_VERSION or not event.writer:
        return False
    return at is None or at.tzinfo is UTC


def _parsed(came: Event | Raw, where: str, nesting: int) -> Event:
    try:
        if isinstance(came, Event):
            return sound_envelope(came, where=where)
        check_nesting(bytes(came), where=where, most=nesting)
        return parse_event(came, where=where)
    except OverflowError as error:
        raise InvalidEvent("started_at is out of range", where=where, found=str(error)) from error


def _look_at(event: Event, body: Any, where: str) -> None:
    """Check what only a few types of events have."""
    if event.event_type == "artifact_created":
        check_artifact(body, where=where)
    elif event.event_type == "run_ended" and event.status not in ENDED_STATUSES:
        raise InvalidEvent(
            "run_ended carries no final status",
            where=where,
            expected=list(ENDED_STATUSES),
            found=event.status,
        )


def _split_off(event: Event) -> bytes:
    """Take payload, digest and the server's fields out of an event; return its envelope's JSON.

    The event was made here a moment ago and nobody else has it: setting its fields costs a tenth
    of copying it.
    """
    force_setattr(event, "payload", EMPTY)
    force_setattr(event, "digest", None)
    if event.seq is not None or event.received_at is not None:
        force_setattr(event, "seq", None)
        force_setattr(event, "received_at", None)
    return _encoder.encode(event)


def _proved(envelope: bytes, payload: bytes, *, said: str | None, where: str) -> str:
    """Return the digest, which has to be the one the event says of itself."""
    computed = digest_of_parts(envelope, payload)
    if said is not None and said != computed:
        raise InvalidEvent(
            "the digest is not that of the event",
            where=where,
            expected=computed,
            found=said,
            hint="Leave the digest out, and the server computes it.",
        )
    return computed


def _canonical(raw: Raw | bytes, where: str) -> bytes:
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


def _fits_columns(event: Event, envelope: bytes) -> bool:
    """Say whether no column can refuse a text of this event, at one look."""
    return (
        len(envelope) <= _SHORT
        and len(event.writer) <= _SHORT_WRITER
        and b"\\u0000" not in envelope
        and (event.signature is None or is_sha256(event.signature))
    )


def _check_columns(event: Event, where: str) -> None:
    """Refuse what a column cannot hold."""
    if event.signature is not None and not is_sha256(event.signature):
        raise InvalidEvent(
            "the signature is no hex sha-256", where=where, found=event.signature[:80]
        )
    for name in _TEXTS:
        text = getattr(event, name)
        if text is not None:
            check_text(text, where=f"{where}.{name}", most=_MOST_BYTES.get(name, 10_000))


def _refers(event: Event, body: Any, where: str) -> tuple[str, ...]:
    """Return the digests of bodies that an event names."""
    naming = _NAMING.get(event.event_type)
    if naming is None or (digests := naming(event, body)) is None:
        return ()
    if not _are_digests(digests):
        raise InvalidEvent(
            "messages are not digests", where=where, expected="hex sha-256 of pooled bodies"
        )
    return tuple(digests)


def _of_request(event: Event, body: CallStarted) -> Any:
    digests = body.request.get("messages") or None
    if event.kind == "model" and type(digests) is list and type(digests[0]) is dict:
        # the beginning of an earlier conversation of the run, which named its own
        return (digests[1:] or None) if sharing.beginning_is_sound(digests[0]) else digests
    if event.kind != "model" and not _are_digests(digests):
        return None  # another kind's own parameter of that name
    return digests


def _of_outcome(_: Event, body: CallEnded) -> Any:
    outcome = body.outcome
    return (outcome["message"],) if outcome is not None and "message" in outcome else None


def _of_input(_: Event, body: RunStarted) -> Any:
    if not body.pooled:
        return None
    digests = body.input.get("messages") if isinstance(body.input, dict) else None
    return _NO_DIGESTS if digests is None else digests


def _of_remark(_: Event, body: Annotated) -> Any:
    return None if body.message is None else (body.message,)


_NAMING: dict[str, Callable[[Event, Any], Any]] = {
    "call_started": _of_request,
    "call_ended": _of_outcome,
    "run_started": _of_input,
    "annotated": _of_remark,
}


def _are_digests(values: Any) -> bool:
    if not isinstance(values, (list, tuple)):
        return False
    try:
        return _are_sha256(",".join(values)) is not None
    except TypeError:
        return False


def check_bodies(
    raws: dict[str, Raw], *, nesting: int, rules: Sequence[Rule] = ()
) -> dict[str, bytes]:
    """Return digest → compressed canonical body, or refuse a body of another digest."""
    found = {
        digest: _check_body(digest, raw, nesting, rules) for digest, raw in sorted(raws.items())
    }
    return dict(zip(found, squeezed([*found.values()]), strict=True))


def _check_body(digest: str, raw: Raw, nesting: int, rules: Sequence[Rule]) -> bytes:
    where = f"bodies[{digest[:80]!r}]"
    check_nesting(bytes(raw), where=where, most=nesting)
    canonical = _canonical(raw, where)
    found = hashlib.sha256(canonical).hexdigest()
    if not canonical.startswith(b"{"):
        raise InvalidEvent("a message body is no object", where=where)
    if found != digest:
        raise InvalidEvent(
            "the digest is not that of the body", where=where, expected=found, found=digest[:80]
        )
    if rules:
        redacting.check_body(canonical, rules, digest=digest, where=where)
    return canonical
