"""A line is brought to a store that refuses, forgets, fails and ends: what becomes of each event."""

import msgspec
import pytest

from workbench import errors, hashing
from workbench.schema import EVENT_TYPES, Event, RunHeader, parse_body
from workbench.spool import Delivery, Header, Line, SpoolFolder
from workbench.spool.stubs import stub


class Shelf:
    """A store in memory that takes one writer's events in order, or raises what it is told to."""

    def __init__(self, *, most=2**20):
        self.events, self.bodies, self.runs = [], {}, []
        self.raises, self.most, self.asked = [], most, 0

    def declare(self, header):
        self.runs.append(header.run_id)

    def append_lines(self, run_id, lines):
        self.asked += 1
        if self.raises:
            raise self.raises.pop(0)
        if len(lines) > self.most:
            raise errors.LimitExceeded("the body is too large")
        for raw in map(msgspec.json.decode, lines.splitlines()):
            self._take(raw)

    def _take(self, raw):
        self.bodies |= raw.get("bodies", {})
        if "writer_seq" not in raw:
            return
        expected = len(self.events) + 1
        if raw["writer_seq"] > expected:
            raise errors.SequenceGap("a gap", expected=expected, found=raw["writer_seq"])
        named = raw.get("payload", {}).get("names")
        if named is not None and named not in self.bodies:
            raise errors.MissingBodies("a body is missing")
        if raw["writer_seq"] == expected:
            self.events.append(raw)

    def redacting(self):
        raise NotImplementedError


def event(number, payload=b"{}", event_type="annotated"):
    made = Event(event_type=event_type, writer="w", writer_seq=number)
    return msgspec.json.encode(hashing.sealed_with(made, payload)) + b"\n"


@pytest.fixture
def folder(tmp_path):
    return SpoolFolder(tmp_path / "spool")


@pytest.fixture
def line(folder):
    made = Line(folder, Header(run=RunHeader(run_id="r1"), writer="w", address="a"))
    yield made
    made.close()


def put(line, *lines, first):
    line.append(b"".join(lines), first=first, last=first + len(lines) - 1)


def delivered(line, shelf, *, steps=50):
    delivery = Delivery(line, shelf)
    for _ in range(steps):
        delivery.step()
    return delivery


def numbers(shelf):
    return [one["writer_seq"] for one in shelf.events]


def test_what_is_delivered_is_known_in_order_and_once(line):
    shelf = Shelf()
    for number in range(1, 11):
        put(line, event(number), first=number)
        Delivery(line, shelf).step()
    assert numbers(shelf) == list(range(1, 11))
    assert line.waiting == 0


def test_a_store_that_forgot_gets_it_again(line):
    shelf = Shelf()
    put(line, event(1), event(2), first=1)
    delivery = delivered(line, shelf)
    put(line, event(3), first=3)
    delivery.step()
    shelf.events = shelf.events[:1]
    put(line, event(4), first=4)
    for _ in range(5):
        delivery.step()
    assert numbers(shelf) == [1, 2, 3, 4]
    assert (delivery.error, delivery.over, line.waiting) == (None, False, 0)


def test_what_is_here_no_more_cannot_be_sent_again_and_is_kept(line, folder):
    shelf = Shelf()
    put(line, event(7), first=7)
    delivery = delivered(line, shelf)
    assert isinstance(delivery.error, errors.SequenceGap)
    assert (delivery.over, line.waiting, shelf.asked) == (True, 1, 1)


def test_a_store_that_never_finds_what_it_has_is_not_asked_for_ever(line):
    shelf = Shelf()
    shelf.raises = [errors.SequenceGap("a gap", expected=1) for _ in range(9)]
    put(line, event(1), first=1)
    delivery = delivered(line, shelf)
    assert (delivery.over, shelf.asked < 9) == (True, True)


@pytest.mark.parametrize("error", [errors.Unavailable("away"), RuntimeError("closed"), KeyError(1)])
def test_what_passes_is_tried_again_with_growing_pauses(line, error):
    shelf = Shelf()
    shelf.raises = [error] * 12
    put(line, event(1), first=1)
    delivery, pauses = Delivery(line, shelf), []
    while not delivery.step():
        pauses.append(delivery.pause_s)
        assert delivery.failing_since is not None
        assert isinstance(delivery.error, errors.Unavailable)
    assert min(pauses) > 0
    assert max(pauses) <= 5
    assert max(pauses[-3:]) > 1
    assert (delivery.error, delivery.failing_since, delivery.pause_s) == (None, None, 0)


def test_a_store_says_when_to_come_back(line):
    shelf = Shelf()
    shelf.raises = [errors.RateLimited("too fast", retry_after=3)]
    put(line, event(1), first=1)
    delivery = Delivery(line, shelf)
    assert not delivery.step()
    assert 3 <= delivery.pause_s < 4


def test_a_run_that_is_gone_is_made_again(line):
    shelf = Shelf()
    shelf.raises = [errors.RunNotFound("no run")]
    put(line, event(1), first=1)
    delivered(line, shelf)
    assert (shelf.runs, numbers(shelf)) == (["r1", "r1"], [1])


def test_what_comes_after_the_end_is_counted_and_removed(line, folder):
    shelf = Shelf()
    shelf.raises = [errors.RunClosed("it ended")]
    put(line, event(1), event(2), first=1)
    delivery = delivered(line, shelf)
    assert (delivery.lost, delivery.over, line.waiting) == (2, True, 0)
    line.close()
    assert folder.paths() == []


def test_what_may_not_be_sent_at_all_stays(line, folder):
    shelf = Shelf()
    shelf.raises = [errors.Forbidden("not you")]
    put(line, event(1), first=1)
    delivery = delivered(line, shelf)
    assert (delivery.over, line.waiting, shelf.asked) == (True, 1, 1)
    line.close()
    assert len(folder.paths()) == 1


# ---- what is refused for what it is


def test_one_that_is_too_large_is_found_soon_and_costs_no_other(line):
    shelf = Shelf(most=60_000)
    large = event(137, b'{"label":"%b"}' % (b"x" * 70_000))
    put(line, *map(event, range(1, 137)), large, *map(event, range(138, 201)), first=1)
    delivery = delivered(line, shelf)
    assert numbers(shelf) == list(range(1, 201))
    assert delivery.stubs == 1
    assert shelf.events[136]["quality"] == "truncated"
    assert {one.get("quality") for one in shelf.events} == {None, "truncated"}
    assert shelf.asked < 30


def test_a_stub_that_is_sent_again_is_one_stub(line):
    class Away(Shelf):
        def append_lines(self, run_id, lines):
            if b'"writer_seq":3}' in lines and b'"writer_seq":1}' not in lines and self.asked < 12:
                self.asked += 1
                raise errors.Unavailable("away")
            super().append_lines(run_id, lines)

    shelf = Away(most=60_000)
    large = event(1, b'{"label":"%b"}' % (b"x" * 70_000))
    put(line, large, event(2), event(3), event(4), first=1)
    delivery = delivered(line, shelf)
    assert (numbers(shelf), delivery.stubs, line.waiting) == ([1, 2, 3, 4], 1, 0)
    assert shelf.asked > 12


def test_bodies_that_fit_one_by_one_are_sent_so(line):
    shelf = Shelf(most=1_000)
    bodies = [b'{"bodies":{"d%d":{"text":"%b"}}}\n' % (n, b"x" * 800) for n in range(4)]
    line.append(b"".join([*bodies, event(1, b'{"names":"d3"}')]), first=1, last=1)
    delivery = delivered(line, shelf)
    assert (sorted(shelf.bodies), numbers(shelf)) == (["d0", "d1", "d2", "d3"], [1])
    assert delivery.stubs == 0


def test_an_event_whose_body_is_refused_gives_way_to_a_stub(line):
    shelf = Shelf(most=1_000)
    body = b'{"bodies":{"d":{"text":"%b"}}}\n' % (b"x" * 2_000)
    line.append(body + event(1, b'{"names":"d"}') + event(2), first=1, last=2)
    delivery = delivered(line, shelf)
    assert (shelf.bodies, numbers(shelf), delivery.stubs) == ({}, [1, 2], 1)


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_a_stub_is_an_event_of_its_type(event_type):
    raw = event(3, b'{"label":"%b"}' % (b"x" * 5_000), event_type=event_type)
    made = msgspec.json.decode(stub(raw, errors.LimitExceeded("too large")), type=Event)
    kept = "annotated" if event_type == "artifact_created" else event_type
    assert (made.event_type, made.writer_seq, made.quality) == (kept, 3, "truncated")
    assert made.digest == hashing.event_digest(made)
    parse_body(made)


def test_a_damaged_line_stays_and_is_said(line):
    shelf = Shelf()
    shelf.raises = [errors.InvalidEvent("no event")] * 2
    line.append(b'{"writer_seq":1,\n', first=1, last=1)
    delivery = delivered(line, shelf)
    assert isinstance(delivery.error, errors.MalformedFile)
    assert (delivery.over, line.waiting) == (True, 1)
