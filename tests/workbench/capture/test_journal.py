"""The journal between an agent and its store: whoever interrupts it, and whatever stays away."""

from __future__ import annotations

import functools
import gc
import subprocess
import sys
import threading
import time
import weakref
from queue import Queue

import msgspec
import pytest
from shelf import Shelf

import workbench as wb
from workbench.capture import boundary, journal, relays
from workbench.capture import scope as scopes
from workbench.capture.asked import Asked
from workbench.capture.children import ChildJournal
from workbench.capture.session import Session
from workbench.errors import SpoolFailed
from workbench.redaction import Wanted

REMARK = b'{"label":"remark"}'


class Sink:
    """A writer that takes everything, or nothing."""

    run_id = "r1"

    def __init__(self, *, full=False):
        self.full, self.events, self.closed = full, [], False

    def append(self, events, bodies=None):
        if self.full:
            raise SpoolFailed("the disk is full", full=True)
        self.events += events

    def close(self):
        self.closed = True


def until(said):
    while not said():
        time.sleep(0.005)


def asked():
    return Asked(kind="tool", name="t", parsed={"arguments": {}}, effect="read")


@pytest.fixture
def session():
    made = Session(journal.Journal(Sink()))
    former = scopes.raw()
    scopes.inhabit(scopes.Scope(made, scopes.Place("root")))
    yield made
    scopes.put(former)
    made.closed = True
    made.journal.close()


# ---- interrupted

_ALARMED = """
import signal, time
from workbench.capture.journal import Journal
from workbench.capture.scope import Visits, Place

class Sink:
    run_id = "r"
    def append(self, events, bodies=None): ...
    def close(self): ...

kept, visits = Journal(Sink()), Visits()

def record(*_):
    kept.put("annotated")
    visits.place(place, "b:1", {})
    signal.setitimer(signal.ITIMER_REAL, 0.0005)

place = Place("root")
signal.signal(signal.SIGALRM, record)
record()
until = time.monotonic() + 5
while time.monotonic() < until:
    kept.put("annotated")
    visits.place(place, "a:1", {})
    time.sleep(0.0001)
signal.setitimer(signal.ITIMER_REAL, 0)
kept.close()
"""


def test_an_alarm_may_record_in_the_middle_of_recording():
    done = subprocess.run([sys.executable, "-c", _ALARMED], timeout=60, check=False)
    assert done.returncode == 0


# ---- what is written behind the agent is what was in front of it


def test_a_call_belongs_to_the_step_that_it_was_handed_over_in():
    @wb.tool(effect="read")
    def look(number):
        return number

    def agent(_):
        waiting = Queue()

        def work():
            while (number := waiting.get()) is not None:
                look(number)

        thread = threading.Thread(target=work)
        for number in range(4):
            with wb.step(f"step {number}"):
                waiting.put(number)
        waiting.put(None)
        thread.start()
        thread.join()

    run = wb.record(Shelf(), agent, None)
    events = run.event_log()
    names = {e.step_id: e.name for e in events if e.event_type == "step_started"}
    inside = [names.get(e.parent_step_id) for e in events if e.event_type == "call_started"]
    assert inside == [f"step {number}" for number in range(4)]


def test_a_stream_that_nobody_ended_is_written_as_far_as_it_came():
    kept = journal.Journal(Sink(), redact=Wanted.of(lambda value: value))
    kept.put("run_started", lane="root")
    kept.put("chunk", payload=b'{"index":0,"pieces":["hello"],"at_ms":1}', step_id="a")
    kept.close()
    assert [event.event_type for event in kept.sink.events][-1] == "chunk"
    assert (kept.unsent, kept.error) == (0, None)


# ---- nothing is kept for ever


@pytest.mark.parametrize("is_late", [False, True])
def test_a_recording_goes_with_its_last_user_however_late_a_call_comes_back(is_late):
    def record():
        made = Session(journal.Journal(Sink()))
        scope = scopes.Scope(made, scopes.Place("root"))
        scope.owner = scopes.who()
        opened = made.begin(scope, asked())
        if not is_late:
            made.ended(opened, 1)
        made.closed = True
        made.journal.close()
        if is_late:
            made.ended(opened, 1)
        return weakref.ref(made), weakref.ref(made.journal)

    refs = record()
    gc.collect()
    assert [ref() for ref in refs] == [None, None]


def test_a_stream_that_its_pieces_know_is_ended_when_nobody_reads_it(session):
    class Piece:
        pass

    def source():
        while True:
            yield Piece()

    begin = functools.partial(boundary._begun, scopes.raw(), asked(), boundary._served_stream)
    stream = relays.relay(begin, source)
    next(stream).stream = stream
    until(lambda: session.journal.sink.events)
    del stream
    gc.collect()
    until(lambda: "call_ended" in [event.event_type for event in session.journal.sink.events])


def test_the_collector_goes_through_no_calls_that_wait_to_be_written(session):
    def waiting(**how):
        return session.begin(scopes.raw(), asked(), **how)

    assert not gc.is_tracked(waiting())
    assert gc.is_tracked(waiting(streams=True)), "its pieces may lead back to it"


def test_a_child_s_journal_goes_when_it_is_closed(tmp_path):
    def join():
        sink = Sink()
        sink.spool = tmp_path
        made = ChildJournal(sink, lane="root/1")
        made.close()
        return weakref.ref(made)

    ref = join()
    gc.collect()
    assert ref() is None


# ---- bounds


def test_messages_count_as_much_as_events_do_where_nothing_is_taken(monkeypatch):
    monkeypatch.setattr(journal, "_MOST_BYTES", 10_000)
    monkeypatch.setattr(journal, "_BATCH", 5)
    kept = journal.Journal(Sink(full=True))
    for number in range(100):
        body = {"role": "user", "content": "x" * 1000}
        kept.put("annotated", payload=REMARK, bodies={f"{number:064x}": body})
        until(lambda: not kept._queue)
    until(lambda: kept.dropped)
    assert len(kept._bodies) <= 10 + 5 + 1


def test_what_is_dropped_again_and_again_makes_no_more_events(monkeypatch):
    monkeypatch.setattr(journal, "_MOST_EVENTS", 10)
    monkeypatch.setattr(journal, "_BATCH", 5)
    monkeypatch.setattr(journal, "_RETRY_S", 0.01)
    kept = journal.Journal(Sink(full=True))
    for dropped in range(1, 41):
        kept.put("annotated", payload=REMARK)
        until(lambda: not kept._queue)
        until(lambda at_least=dropped - 10: kept.dropped >= at_least)
        time.sleep(0.03)  # it is tried again meanwhile
    assert len(kept._pending) <= 10
    kept.sink.full = False
    kept.put("run_ended", status="done")
    kept.close()
    gaps = [msgspec.json.decode(e.payload).get("value") for e in kept.sink.events]
    assert [gap["events"] for gap in gaps if gap] == [30]


def test_a_store_that_hangs_is_not_waited_for_with_ever_more_in_memory(monkeypatch):
    monkeypatch.setattr(journal, "_MOST_QUEUED", 50)
    hanging, going_on = threading.Event(), threading.Event()

    class Hanging(Sink):
        def append(self, events, bodies=None):
            hanging.set()
            going_on.wait()
            super().append(events, bodies)

    kept = journal.Journal(Hanging())
    kept.put("run_started")
    hanging.wait()
    for _ in range(200):
        kept.put("annotated", payload=REMARK)
    assert len(kept._queue) == 50
    going_on.set()
    until(lambda: not kept._queue)
    kept.put("run_ended", status="done")
    kept.close()
    told = [msgspec.json.decode(event.payload).get("value") for event in kept.sink.events]
    assert [one["events"] for one in told if one] == [150]
    assert kept.dropped == 150


# ---- forked

_FORKED = """
import os, sys
from workbench.capture import children, scope as scopes
from workbench.capture.asked import Asked
from workbench.capture.journal import Journal
from workbench.capture.session import Session
from workbench.errors import Conflict

class Sink:
    run_id = "r"
    spool = None
    def append(self, events, bodies=None): ...
    def close(self): ...
    if sys.argv[1] == "refused":
        def for_child(self):
            raise Conflict("the id is taken")

session = Session(Journal(Sink()))
scope = scopes.Scope(session, scopes.Place("root"))
scopes.inhabit(scope)
child = os.fork()
if child == 0:
    asked = Asked(kind="tool", name="t", parsed={"arguments": {}}, effect="read")
    session.ended(session.begin(scope, asked), 1)
    assert children.take_lane(scope) is None or sys.argv[1] == "refused"
    session.visits.place(scope.place, "a:1", {})
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
"""


@pytest.mark.parametrize("how", ["refused", "not taken"])
def test_a_forked_agent_goes_on_where_its_recording_cannot(how):
    done = subprocess.run([sys.executable, "-c", _FORKED, how], timeout=60, check=False)
    assert done.returncode == 0
