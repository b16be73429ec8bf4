"""C16 and C20: the new run's store goes away, or something fails when the agent has ended.

Nothing turns live and nothing stays half open; what the replay came to is given back, with what
could not be kept of it, or an error says that nothing was played.
"""

import shutil
import socket
import subprocess
import sys
import threading
import time
import warnings
from contextlib import contextmanager

import conformance_agents as cases
import pytest
import replay_agents as agents
from shelf import Shelf
from strengths import each_strength, isolated

import workbench as wb
from workbench import errors
from workbench.capture import RecordingWarning, scope
from workbench.replay import certificate, verb
from workbench.replay.session import ReplaySession
from workbench.store import connect

each_side = pytest.mark.parametrize("side", ["plain", "graph"])


class Gone(Shelf):
    """A store that goes away: where it is told to, whoever asks is told that nobody is there."""

    def __init__(self, *failing, after=0, error=None):
        super().__init__()
        self.failing, self.after = failing, after
        self.error = error or errors.Unavailable("nobody is there")

    def fails(self, what):
        if what in self.failing:
            raise self.error

    def writer(self, header):
        self.fails("writer")
        return GoneWriter(super().writer(header), self)

    def run(self, run_id):
        self.fails("run")
        return super().run(run_id)

    def events(self, run_id, **wanted):
        self.fails("events")
        return super().events(run_id, **wanted)

    def bodies(self, run_id):
        self.fails("bodies")
        return super().bodies(run_id)

    def put_artifact(self, data):
        self.fails("put_artifact")
        return super().put_artifact(data)

    def patch(self, run_id, change):
        self.fails("patch")
        return super().patch(run_id, change)


class GoneWriter:
    def __init__(self, sink, store):
        self.sink, self.store, self.run_id = sink, store, sink.run_id

    def append(self, events, bodies=None):
        room = self.store.after - len(self.sink.log)
        if "append" in self.store.failing and len(events) > room:
            self.sink.append(events[:room], bodies)
            raise errors.Unavailable("nobody is there", stored=room)
        self.sink.append(events, bodies)

    def close(self):
        self.store.fails("close")


@pytest.fixture
def recorded(folders, world):
    """A run of many calls, each of which would be counted; the world is poisoned from then on."""

    def record(side, poison):
        run = cases.recorded(folders, side, agents.identical_in_bare_threads)
        poison()
        return run, world.calls

    return record


@contextmanager
def nothing_stays_open():
    """Check that whatever a replay changes in this process is as it was."""
    sleep, threads = time.sleep, set(threading.enumerate())
    yield
    assert scope.current() is None
    assert time.sleep is sleep
    assert [t for t in threading.enumerate() if t not in threads and not t.daemon] == []
    for _ in range(300):  # the threads of a store that is gone may take a moment to notice
        left = [t.name for t in set(threading.enumerate()) - threads if t.name != "workbench-spool"]
        if not any("journal" in name or "child" in name for name in left):
            break
        threading.Event().wait(0.01)
    else:
        raise AssertionError(left)
    socket.create_server(("127.0.0.1", 0)).close()  # the guard is off
    subprocess.run([sys.executable, "-c", ""], check=True)


# ---- C16: the store goes away


@each_side
@each_strength
def test_c16_where_the_store_is_gone_before_nothing_is_played(recorded, poison, side, isolate):
    run, calls = recorded(side, poison)
    with nothing_stays_open(), pytest.raises(errors.Unavailable, match="nobody is there"):
        wb.replay(run, isolate=isolate, into=Gone("writer"))
    assert agents.world.calls == calls
    assert poison.bitten() == []
    assert wb.replay(run, isolate=isolate).identical


@each_side
@each_strength
@pytest.mark.parametrize("after", [0, 1])
def test_c16_where_it_goes_away_during_nothing_turns_live(recorded, poison, side, isolate, after):
    run, calls = recorded(side, poison)
    store = Gone("append", after=after)
    with nothing_stays_open():
        if isolate:
            with pytest.raises(errors.Unavailable, match="nobody is there"):
                wb.replay(run, isolate=True, into=store)
        else:
            with pytest.warns(RecordingWarning, match="could be written: .*nobody is there"):
                result = wb.replay(run, into=store)
            holds(result, run)
            assert result.certificate["replay"] == {"run_id": result.run.run_id}
    assert agents.world.calls == calls
    assert poison.bitten() == []


@each_side
def test_c16_a_server_that_does_not_answer_costs_no_replay(recorded, poison, side):
    run, calls = recorded(side, poison)
    with nothing_stays_open(), connect("http://127.0.0.1:9", "k", check=False) as store:
        with pytest.warns(RecordingWarning, match="could be written"):
            result = wb.replay(run, into=store)
        holds(result, run)
    assert agents.world.calls == calls


@pytest.mark.parametrize("on_miss", ["fail", "error", "live"])
@pytest.mark.parametrize("error", [errors.Unavailable("nobody is there"), OSError("nobody there")])
def test_c16_where_the_recording_s_store_goes_away_a_miss_is_no_reason_to_go_live(
    world, error, on_miss
):
    store = Leaving()
    run = wb.record(store, cases.asks_and_goes_on, None)
    calls, world.extra_call, store.left = world.calls, True, error
    with nothing_stays_open(), pytest.raises(type(error), match="nobody"):
        wb.replay(run, cases.asks_and_goes_on, mode="cached", on_miss=on_miss, into=Shelf())
    assert world.calls == calls


@isolated
@pytest.mark.parametrize("on_miss", ["fail", "error"])
def test_c16_isolated_a_miss_is_no_reason_to_go_live_either(poison, on_miss):
    store = Leaving()
    run = wb.record(store, "conformance_agents:asks_and_goes_on", None)
    poison(extra_call=True)
    store.left = errors.Unavailable("nobody is there")
    with nothing_stays_open(), pytest.raises(errors.Unavailable, match="nobody is there"):
        wb.replay(run, mode="cached", on_miss=on_miss, into=Shelf(), isolate=True)
    assert poison.bitten() == []


@each_side
@each_strength
@pytest.mark.parametrize("gone", ["events", "bodies"])
def test_c16_where_the_recording_cannot_be_read_nothing_is_played(poison, side, isolate, gone):
    store = Gone()
    run = cases.recorded(store, side, agents.polling)
    poison()
    store.failing = (gone,)
    with nothing_stays_open(), pytest.raises(errors.Unavailable, match="nobody is there"):
        wb.replay(store.run(run.run_id), isolate=isolate, into=Shelf())
    assert poison.bitten() == []


class Leaving(Shelf):
    """A store that has no more to say when another run than the replayed one is looked for."""

    left = None

    def runs(self):
        raise self.left


def test_c16_where_calls_are_made_instead_the_poison_tells(recorded, poison, monkeypatch):
    run, _ = recorded("plain", poison)
    monkeypatch.setattr(ReplaySession, "answer", lambda *_: None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = wb.replay(run, "replay_agents:polling", into=Gone("append"))
    assert not result.identical


# ---- C20: something fails when the agent has ended


def holds(result, run):
    """Check that all of a finished replay is there but what its store could not keep."""
    assert result.identical
    assert result.divergences == []
    assert result.output == run.output
    assert result.matches.height == run.calls.height
    counts = result.certificate["calls"]
    assert counts["asked"] == counts["consumed"] == counts["recorded"] == run.calls.height
    assert result.run.status == run.status
    assert result.run.run_id != run.run_id
    assert len(result.lost) == 1
    assert str(result).startswith("identical: ")
    assert str(result).endswith(result.lost[0])


FAILING = {
    "closing": ("close", "could be written"),
    "finding": ("run", "could not be read back"),
    "reading": ("events", "could not be read back"),
    "messages": ("bodies", "could not be read back"),
    "certificate": ("put_artifact", "could not be stored"),
    "label": ("patch", "could not be stored"),
}
ERRORS = {
    "own": errors.Unavailable("nobody is there"),
    "another": KeyError("of whoever wrote the store"),
}


@pytest.mark.parametrize("what", FAILING)
@pytest.mark.parametrize("error", ERRORS)
def test_c20_whatever_fails_behind_the_agent_the_replay_stands(recorded, poison, what, error):
    run, _ = recorded("plain", poison)
    failing, says = FAILING[what]
    with nothing_stays_open(), pytest.warns(RecordingWarning, match=says):
        result = wb.replay(run, into=Gone(failing, error=ERRORS[error]))
    holds(result, run)
    assert says in result.lost[0]


@isolated
@pytest.mark.parametrize("what", ["closing", "reading", "certificate"])
def test_c20_isolated_too(recorded, poison, what):
    run, _ = recorded("graph", poison)
    failing, says = FAILING[what]
    with nothing_stays_open(), pytest.warns(RecordingWarning, match=says):
        result = wb.replay(run, isolate=True, into=Gone(failing))
    holds(result, run)


def test_c20_a_replay_that_cannot_be_certified_is_counted_all_the_same(
    recorded, poison, monkeypatch, tmp_path
):
    def broken(*_, **__):
        raise UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed")

    run, _ = recorded("plain", poison)
    monkeypatch.setattr(verb, "certificate", broken)
    with pytest.warns(RecordingWarning, match="could not be certified"):
        result = wb.replay(run, into=Shelf())
    holds(result, run)
    assert result.certificate["digest"] is None
    with pytest.raises(errors.UnknownFormat):
        certificate.load(result.save(tmp_path / "kept.json").read_bytes(), where="kept.json")


@each_side
def test_c20_a_folder_that_is_gone_when_it_is_written(folders, world, side, poison):
    run = cases.recorded(folders, side, agents.polling)
    poison()

    def gone(done, total):
        shutil.rmtree(folders.root, ignore_errors=True)
        folders.root.write_text("something else")

    read = wb.open(str(folders._folders[run.run_id])).run(run.run_id)
    output, height = run.output, run.calls.height
    with pytest.warns(RecordingWarning, match="could be written"):
        result = wb.replay(read, into=folders, progress=gone)
    assert (result.identical, result.output) == (True, output)
    assert result.certificate["calls"]["consumed"] == height
    assert len(result.lost) == 1


def test_c20_a_difference_is_not_lost_either(recorded, poison):
    run, _ = recorded("plain", poison)
    with pytest.warns(RecordingWarning):
        result = wb.replay(run, "replay_agents:polling", into=Gone("run"))
    assert result.run.status == "diverged"
    assert result.divergences


def test_c20_with_nothing_failing_nothing_is_lost(recorded, poison):
    run, _ = recorded("plain", poison)
    result = wb.replay(run, into=Gone())
    assert result.identical
    assert result.lost == []
    assert result.certificate["replay"]["content_root"] == run.content_root
