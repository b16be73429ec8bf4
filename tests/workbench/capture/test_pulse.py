"""A recording says that it goes on, learns that it was cancelled, and never minds what goes wrong."""

import threading
import time
import warnings

import psycopg
import pytest

import workbench as wb
from workbench.capture import RecordingWarning, journal, pulse
from workbench.errors import Unavailable

HALF_AN_HOUR = (
    "update runs set heard_at = now() - interval '30 min', status = 'lost' where run_id = %s"
)


def until(condition, *, seconds=30):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.01)
    return pytest.fail("it never came about")


def beating_threads():
    return [t for t in threading.enumerate() if t.name.endswith("-pulse")]


@pytest.fixture(autouse=True)
def often(monkeypatch):
    monkeypatch.setattr(pulse, "EVERY_S", 0.05)


@wb.root
def agent(question):
    return question


def test_a_recording_that_sends_nothing_is_kept_alive_and_comes_back_when_lost(server, store):
    with wb.record(store, name="slow") as run:
        agent("why?")
        run_id = run.run_id
        until(lambda: store.row(run_id)["events"] == 2)
        with psycopg.connect(server.database.owner_url) as owner:
            owner.execute(HALF_AN_HOUR, [run_id])
        until(lambda: store.row(run_id)["status"] == "running")
    assert store.row(run_id)["status"] == "done"


def test_the_thread_ends_with_the_recording(store):
    with wb.record(store):
        agent("why?")
        assert len(beating_threads()) == 1
        assert beating_threads()[0].daemon
        assert beating_threads()[0].name.startswith(journal.THREAD_NAME)
    until(lambda: not beating_threads())


def test_an_exported_recording_has_nobody_to_beat_for(folders):
    with wb.record(folders):
        agent("why?")
        assert beating_threads() == []


def test_a_cancelled_recording_is_told_goes_on_and_stops_sending(store, caplog):
    told = pytest.warns(RecordingWarning, match="ended by the server while it was recorded")
    with told as warned, wb.record(store) as run:
        agent("first")
        until(lambda: store.row(run.run_id)["events"] == 2)
        assert not run.cancelled
        store.cancel(run.run_id, reason="too long")
        until(lambda: run.cancelled)
        assert agent("second") == "second"
        assert agent("third") == "third"
    assert len(warned) == 1
    assert (run.status, run.exception["message"]) == ("cancelled", "too long")
    assert run.events["event_type"].to_list() == ["run_started", "annotated", "run_ended"]
    said = [r.getMessage() for r in caplog.records if "ended by the server" in r.getMessage()]
    assert len(said) == 1


def test_a_recording_learns_of_its_end_by_its_events_as_well(store, monkeypatch):
    monkeypatch.setattr(pulse, "EVERY_S", 3600)
    told = pytest.warns(RecordingWarning, match="3 later events were not stored")
    with told, wb.record(store) as run:
        agent("first")
        until(lambda: store.row(run.run_id)["events"] == 2)
        store.end(run.run_id, status="failed")
        agent("second")
        until(lambda: run.cancelled)
    assert run.status == "failed"


class Broken:
    """A writer whose store has trouble with every heartbeat."""

    run_id = "x"

    def __init__(self, error):
        self.error, self.beats = error, 0

    def append(self, events, bodies=None):
        pass

    def heartbeat(self):
        self.beats += 1
        raise self.error

    def close(self):
        pass


@pytest.mark.parametrize("error", [Unavailable("gone"), RuntimeError("closed"), MemoryError()])
def test_a_heartbeat_that_fails_is_tried_again_and_tells_nobody(error, recwarn):
    sink = Broken(error)
    opened = journal.Journal(sink)
    until(lambda: sink.beats > 2)
    assert not opened.cancelled
    opened.close()
    until(lambda: not beating_threads())
    assert list(recwarn) == []


def test_a_heartbeat_that_hangs_holds_nobody_up():
    release = threading.Event()

    class Hanging(Broken):
        def heartbeat(self):
            self.beats += 1
            release.wait()
            return {}

    sink = Hanging(None)
    opened = journal.Journal(sink)
    until(lambda: sink.beats == 1)
    opened.close()
    assert beating_threads() != []
    release.set()
    until(lambda: not beating_threads())


def test_a_replay_into_a_server_beats_as_well_and_is_not_blocked(store):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run = wb.record(store, agent, "why?")
        result = wb.replay(run, agent)
    assert result.identical
    until(lambda: not beating_threads())
