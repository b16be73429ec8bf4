import msgspec
from handmade import Log, any_log
from hypothesis import given

from workbench.store import batches
from workbench.store.batches import cut


def test_nothing_to_send_is_no_request():
    assert list(cut([], {})) == []


@given(any_log())
def test_a_short_append_is_one_request_with_everything_in_it(log):
    (batch,) = cut(log.events, log.bodies)

    said = msgspec.json.decode(msgspec.json.encode(batch))
    assert len(said["events"]) == len(log.events)
    assert said["bodies"] == log.bodies
    assert said["atomic"] is True


def test_a_long_append_is_cut_bodies_first(monkeypatch):
    monkeypatch.setattr(batches, "_MOST_EVENTS", 3)
    monkeypatch.setattr(batches, "_MOST_BYTES", 2000)
    log = Log()
    for number in range(20):
        log.message(role="user", content=f"{number:0300}")
        log.add("annotated")

    parts = list(cut(log.events, log.bodies))

    assert [raw for part in parts for raw in part.events] == [
        msgspec.Raw(msgspec.json.encode(event)) for event in log.events
    ]
    assert [digest for part in parts for digest in part.bodies] == list(log.bodies)
    assert max(len(part.events) for part in parts) == 3
    assert max(len(msgspec.json.encode(part)) for part in parts) < 3500
    first_event = next(n for n, part in enumerate(parts) if part.events)
    assert not any(part.bodies for part in parts[first_event + 1 :])


def test_one_event_larger_than_a_request_still_goes_alone(monkeypatch):
    monkeypatch.setattr(batches, "_MOST_BYTES", 10)
    log = Log()
    log.add("annotated")
    log.add("annotated")

    assert [len(part.events) for part in cut(log.events, {})] == [1, 1]
