import msgspec
import pytest

from workbench import schema
from workbench.errors import InvalidEvent, UnknownSchemaVersion
from workbench.schema import BODIES, EVENT_TYPES, Event, parse_body, parse_event


def wire(**fields):
    return msgspec.json.encode(
        {"event_type": "run_started", "writer": "w", "writer_seq": 1} | fields
    )


def test_every_event_type_has_a_body():
    assert tuple(BODIES) == EVENT_TYPES


def test_the_envelope_is_in_alphabetical_order():
    names = [field.name for field in msgspec.structs.fields(Event)]
    assert names == sorted(names)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"x"',
        b"\xff\xfe",
        wire(writer_seq=0),
        wire(writer=""),
        wire(writer_seq="1"),
        wire(colour="red"),
        wire(kind="oracle"),
        wire(started_at="yesterday"),
        wire(started_at="2026-01-01T00:00:00"),
        wire(content_hash=2**70),
    ],
)
def test_a_malformed_event_is_refused(raw):
    with pytest.raises(InvalidEvent):
        parse_event(raw, where="events[0]")


@pytest.mark.parametrize("fields", [{"event_type": "run_dreamt"}, {"version": 2}, {"version": 0}])
def test_an_unknown_type_or_version_is_refused_with_the_supported_range(fields):
    with pytest.raises(UnknownSchemaVersion) as caught:
        parse_event(wire(**fields))
    assert caught.value.expected is not None


def test_times_are_kept_in_utc():
    event = parse_event(wire(started_at="2026-01-01T02:00:00+02:00"))
    assert event.started_at.isoformat() == "2026-01-01T00:00:00+00:00"


def test_a_body_that_does_not_fit_its_type_is_refused():
    event = parse_event(wire(event_type="call_started", payload={"question": 1}))
    with pytest.raises(InvalidEvent):
        parse_body(event)


def test_a_body_may_grow():
    event = parse_event(wire(event_type="chunk", payload={"index": 1, "later": True}))
    assert parse_body(event) == schema.Chunk(index=1)
