"""A replay that is answered faster than it is written waits for its journal now and then."""

import threading

import pytest
from shelf import Shelf

import workbench as wb
from workbench.capture import journal
from workbench.replay import session

CALLS = 1000
MOST_BEHIND = 100


class Slow(Shelf):
    """A store that takes a moment for every batch, in which an agent makes all of its calls."""

    taken = 0

    def writer(self, header):
        return _SlowSink(super().writer(header), self)


class _SlowSink:
    def __init__(self, sink, store):
        self.sink, self.store, self.run_id = sink, store, sink.run_id

    def append(self, events, bodies=None):
        threading.Event().wait(0.2)
        self.sink.append(events, bodies)
        self.store.taken += sum(event.event_type.startswith("call_") for event in events)

    def close(self):
        self.sink.close()


@wb.call(effect="read")
def ask(number):
    return number


class Asking:
    """Asks, and notes how many events of its calls nobody has written yet."""

    store = None

    def __init__(self):
        self.behind = []

    def __call__(self, _):
        for number in range(CALLS):
            ask(number)
            if self.store is not None:
                self.behind.append(2 * (number + 1) - self.store.taken)


@pytest.fixture
def asking(monkeypatch):
    monkeypatch.setattr(session, "_MOST_BEHIND", MOST_BEHIND)
    monkeypatch.setattr(journal, "_SETTLED_WITHIN_S", 60.0)  # however busy the machine is
    return Asking()


def test_what_is_not_written_yet_is_bounded_whatever_the_number_of_calls(asking):
    run = wb.record(Shelf(), asking, None)
    asking.store = Slow()
    result = wb.replay(run, asking, into=asking.store)
    assert result.identical
    assert len(asking.behind) == CALLS
    assert max(asking.behind) <= 2 * (MOST_BEHIND + 1)
    assert asking.store.taken == 2 * CALLS
