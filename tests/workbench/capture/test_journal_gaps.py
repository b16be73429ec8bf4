"""What neither memory nor disk nor store had room for is counted, and told in the run itself."""

import time

import msgspec

from workbench.capture import journal
from workbench.errors import SpoolFailed


class Full:
    """A writer that has no room until it is told that it has."""

    run_id = "r1"

    def __init__(self):
        self.full, self.events = True, []

    def append(self, events, bodies=None):
        if self.full:
            raise SpoolFailed("the disk is full", full=True)
        self.events += events

    def close(self):
        pass


def until(said):
    while not said():
        time.sleep(0.005)


def test_what_was_dropped_is_told_where_it_is_missing(monkeypatch):
    monkeypatch.setattr(journal, "_MOST_EVENTS", 40)
    monkeypatch.setattr(journal, "_BATCH", 20)
    sink = Full()
    made = journal.Journal(sink)
    made.put("run_started")
    for _ in range(100):
        made.put("annotated", payload=b'{"label":"before"}')
    until(lambda: made.dropped == 61)
    sink.full = False
    until(lambda: made.error is None)
    made.put("annotated", payload=b'{"label":"after"}')
    made.put("run_ended", status="done")
    made.close()
    labels = [msgspec.json.decode(one.payload).get("label") for one in sink.events]
    assert labels == [None, *["before"] * 39, "capture_gap", "after", None]
    gap = msgspec.json.decode(sink.events[40].payload)["value"]
    assert gap["events"] == made.dropped == made.unsent == 61
    assert [one.writer_seq for one in sink.events] == list(range(1, 44))
    ended = msgspec.json.decode(sink.events[-1].payload)
    assert ended["writers"] == {made.writer: 43}
    assert made.error is None
