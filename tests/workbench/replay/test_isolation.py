"""An isolated replay runs in a process with no network, no credentials, and no way out but a pipe."""

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import isolated_agents
import msgspec
import pytest
import replay_agents as agents
from folder_runs import FolderRuns
from strengths import isolated
from test_outside import Server, reached

import workbench as wb
from workbench import errors
from workbench.capture import agents as found_agents
from workbench.capture import pulse, scope
from workbench.replay import isolation, pipes, verb
from workbench.replay.policy import Policy
from workbench.replay.progress import Bar
from workbench.schema import RunHeader

pytestmark = isolated

CURIOUS = """
import os, socket
from replay_agents import ask

def agent(given):
    ask("one")
    interfaces = [name for _, name in socket.if_nameindex()]
    return {"secret": os.environ.get("A_SECRET"), "interfaces": interfaces}

def alone(given):
    return ask("one")

def leaker(given):
    ask("one")
    if given == os.getpid():
        return "at home"
    raise RuntimeError("away")
"""


@pytest.fixture
def home(monkeypatch):
    """Where agents behave: no child of an isolated replay is there."""
    monkeypatch.setenv(isolated_agents.HOME, "yes")


@pytest.fixture
def poison(world, monkeypatch):
    """Poison the world here and in every child that begins from now on."""

    def pour():
        world.poisoned = True
        monkeypatch.setattr(isolation, "_KEPT", (*isolation._KEPT, agents.POISONED))
        monkeypatch.setenv(agents.POISONED, "yes")

    return pour


def made(store):
    """Return the run that a replay made."""
    runs = [store.run(run_id) for run_id in store.runs()["run_id"]]
    (found,) = (run for run in runs if "replay_of" in run.labels)
    return found


@pytest.fixture
def module(tmp_path, monkeypatch):
    folder = tmp_path / "agents"
    folder.mkdir()
    (folder / "a_curious_agent.py").write_text(CURIOUS)
    monkeypatch.syspath_prepend(str(folder))
    yield "a_curious_agent"
    sys.modules.pop("a_curious_agent", None)


def test_an_isolated_replay_is_identical_and_certified_so(folders, poison):
    run = wb.record(folders, agents.desk_graph, agents.question())
    poison()
    result = wb.replay(run, agents.desk_graph, isolate=True)
    assert result.identical
    assert result.certificate["strength"] == "isolated"
    assert result.run.content_root == run.content_root
    assert set(result.matches["match_level"]) == {"exact"}


LIVE = "from workbench.replay import child, session; session.ReplaySession.answer = print; child.main()"


def test_a_call_made_live_in_the_child_hits_the_poison(folders, poison, monkeypatch):
    run = wb.record(folders, agents.polling, "x")
    poison()
    monkeypatch.setattr(isolation, "_CHILD", ("-c", LIVE))
    result = wb.replay(run, agents.polling, isolate=True)
    assert not result.identical
    assert "ask was called live" in str(result.run.exception)


def test_the_child_has_no_interface_but_its_own_and_no_secret(folders, world, module, monkeypatch):
    monkeypatch.setenv("A_SECRET", "hush")
    run = wb.record(folders, f"{module}:agent", "x")
    assert run.output["secret"] == "hush"
    result = wb.replay(run, isolate=True)
    assert result.output == {"secret": None, "interfaces": ["lo"]}
    assert [found.kind for found in result.divergences] == ["outcome_mismatch"]


def test_what_differs_in_the_child_comes_home_as_a_divergence(folders, world, module):
    run = wb.record(folders, f"{module}:leaker", os.getpid())
    result = wb.replay(run, isolate=True)
    assert [found.kind for found in result.divergences] == ["exception_mismatch"]
    assert result.run.status == "diverged"


def test_a_fork_is_isolated_too(folders, world):
    run = wb.record(folders, agents.polling, "x")
    result = wb.fork(
        run, at=run.calls["seq"][1], edits={"outcome": "edited"}, agent=agents.polling, isolate=True
    ).run()
    assert result.output == [run.output[0], "edited", run.output[2]]
    with pytest.raises(errors.UsageError, match="nothing live"):
        wb.fork(run, at=run.calls["seq"][1], agent=agents.polling, rest="live", isolate=True)


def test_an_agent_that_no_other_process_can_import_is_refused(folders, world):
    def local(_):
        return agents.ask("one")

    run = wb.record(folders, local, "x")
    with pytest.raises(errors.NotReplayable, match="process of its own"):
        wb.replay(run, local, isolate=True)
    copy = found_agents.Agent(target=agents.desk(), entry_point="replay_agents:desk_graph")
    with pytest.raises(errors.NotReplayable, match="another object"):
        isolation.require(copy)


def test_where_no_namespace_can_be_made_isolation_is_refused_never_weakened(
    folders, world, monkeypatch
):
    run = wb.record(folders, agents.polling, "x")
    monkeypatch.setattr(isolation, "possible", lambda: False)
    runs = len(folders.runs())
    with pytest.raises(errors.NotReplayable, match="no empty network namespace"):
        wb.replay(run, agents.polling, isolate=True)
    assert len(folders.runs()) == runs


# ---- who imports the agent

CONNECTS = """
import socket
from contextlib import suppress
from pathlib import Path
from replay_agents import ask

with suppress(OSError):
    port = int(Path(__file__).with_name("port").read_text())
    with socket.create_connection(("127.0.0.1", port), 2) as made:
        made.sendall(b"x")

def agent(given):
    return ask("one")
"""


@pytest.fixture
def connects(tmp_path, monkeypatch, home):
    """A module that connects when it is imported, and the server that it reaches."""
    server = Server(str(tmp_path / "s"))
    (tmp_path / "a_talking_agent.py").write_text(CONNECTS)
    (tmp_path / "port").write_text(str(server.port))
    monkeypatch.syspath_prepend(str(tmp_path))
    yield server
    sys.modules.pop("a_talking_agent", None)
    server.close()


def test_an_agent_that_is_named_is_imported_in_the_child_alone(folders, poison, connects):
    run = wb.record(folders, "a_talking_agent:agent", "x")
    assert reached(connects, 1) == 1
    del sys.modules["a_talking_agent"]
    poison()
    for agent in (None, "a_talking_agent:agent"):
        result = wb.replay(run, agent, isolate=True)
        assert result.identical
    fork = wb.fork(run, at=run.calls["seq"][0], edits={"outcome": "edited"}, isolate=True)
    assert fork.run().output == "edited"
    assert "a_talking_agent" not in sys.modules
    threading.Event().wait(0.05)
    assert connects.reached == 1


def test_imported_here_the_same_agent_reaches_its_server(folders, world, connects):
    run = wb.record(folders, "a_talking_agent:agent", "x")
    assert reached(connects, 1) == 1
    del sys.modules["a_talking_agent"]
    assert wb.replay(run).identical
    assert reached(connects, 2) == 2


@pytest.mark.parametrize(
    ("agent", "error"),
    [
        ("no_such_module:agent", errors.UsageError),
        ("isolated_agents:nothing", errors.UsageError),
        ("isolated_agents:HOME", errors.UsageError),
    ],
)
def test_an_agent_that_the_child_cannot_import_makes_no_run(folders, world, agent, error):
    run = wb.record(folders, agents.polling, "x")
    with pytest.raises(error):
        wb.replay(run, agent, isolate=True)
    assert folders.runs().height == 1


def test_an_agent_is_named_as_a_child_imports_it():
    assert isolation.require(found_agents.find_agent(agents.polling)) == "replay_agents:polling"


@pytest.mark.parametrize(
    "live",
    [
        {"mode": "live"},
        {"mode": "cached", "on_miss": "live"},
        {"mode": "cached", "overrides": {"tool:ask": "live"}},
    ],
)
def test_what_has_to_be_called_live_is_refused_before_anything_begins(folders, world, live):
    run = wb.record(folders, agents.polling, "x")
    with pytest.raises(errors.UsageError, match="no way out") as caught:
        wb.replay(run, "no_such_module:agent", isolate=True, **live)
    assert caught.value.hint
    assert folders.runs().height == 1


# ---- its end


def replayed(store, agent, given=None, **options):
    run = wb.record(store, f"isolated_agents:{agent}", given)
    assert run.status == "done"
    return wb.replay(run, isolate=True, **options)


def test_a_child_that_is_killed_ends_its_run_as_failed(folders, world, home):
    with pytest.raises(errors.NotReplayable, match="before its time") as caught:
        replayed(folders, "killing")
    assert caught.value.found == "signal SIGKILL"
    run = made(folders)
    assert run.status == "failed"
    assert run.events["event_type"].to_list()[-1] == "run_ended"
    assert run.exception["class"].endswith("NotReplayable")
    assert "SIGKILL" in str(run.exception)


def test_a_child_in_which_the_agent_exits_says_so(folders, world, home):
    with pytest.raises(errors.NotReplayable, match="ended the process"):
        replayed(folders, "exiting")
    assert made(folders).status == "cancelled"


def test_without_time_nothing_begins(folders, world, home):
    with pytest.raises(errors.NotReplayable, match="longer than it was given"):
        replayed(folders, "waiting", timeout=0)
    assert folders.runs().height == 1
    with pytest.raises(errors.UsageError, match="timeout"):
        wb.replay(folders.run(folders.runs()["run_id"][0]), agents.polling, timeout=1)


JOB = isolation.Job(
    session="workbench.replay.session:from_options",
    options={"policy": Policy().as_dict(), "collect": False, "redact": []},
)


@pytest.fixture
def waiting(folders, world, home):
    """A child whose agent waits for ever, and how to play it."""
    run = wb.record(folders, "isolated_agents:waiting", None)
    with isolation.started(run) as child:
        child.imported()
        sink = folders.writer(RunHeader(labels={"replay_of": run.run_id}))

        def play(progress, writer=lambda sink: sink):
            return child.play(JOB, run, writer(sink), progress=progress)

        yield child, play


def test_a_child_that_takes_too_long_is_killed_and_its_run_cancelled(folders, waiting):
    child, play = waiting

    def late(done, total):
        child._until = 0

    with pytest.raises(errors.NotReplayable, match="longer than it was given"):
        play(late)
    assert made(folders).status == "cancelled"
    assert child._process.wait() == -9


def test_a_child_is_cancelled_from_another_thread(folders, waiting):
    child, play = waiting

    def cancel(done, total):
        other = threading.Thread(target=child.cancel)
        other.start()
        other.join()

    with pytest.raises(errors.NotReplayable, match="cancelled"):
        play(cancel)
    run = made(folders)
    assert run.status == "cancelled"
    assert run.events["event_type"].to_list()[0] == "run_started"


class Beaten:
    """A writer whose store says at the first beat that the run was cancelled."""

    def __init__(self, sink):
        self.sink, self.run_id = sink, sink.run_id

    def append(self, events, bodies=None):
        self.sink.append(events, bodies)

    def close(self):
        self.sink.close()

    def heartbeat(self):
        return {"cancelled": True}


def test_a_run_that_is_cancelled_in_its_store_ends_its_child(folders, waiting, monkeypatch):
    monkeypatch.setattr(pulse, "EVERY_S", 0.01)
    child, play = waiting
    with pytest.raises(errors.NotReplayable, match="cancelled"):
        play(None, Beaten)
    assert made(folders).status == "cancelled"
    assert child._process.wait() == -9


def test_a_recording_that_goes_away_leaves_no_child_waiting(folders, world, home):
    run = wb.record(folders, "isolated_agents:waiting", None)
    with isolation.started(run) as child:
        child.imported()
        shutil.rmtree(folders._folders[run.run_id])
        sink = folders.writer(RunHeader(labels={"replay_of": run.run_id}))
        with pytest.raises(errors.WorkbenchError) as caught:
            child.play(JOB, run, sink)
    assert not isinstance(caught.value, errors.NotReplayable)
    del folders._folders[run.run_id]
    assert made(folders).status == "failed"


class Enough(Exception):
    """What a caller raises who wants no more."""


@pytest.mark.parametrize(
    ("isolate", "raised"), [(True, Enough), (True, KeyboardInterrupt), (False, Enough)]
)
def test_what_progress_raises_cancels_the_replay(folders, world, home, isolate, raised):
    run = wb.record(folders, "isolated_agents:many", 20)

    def stop(done, total):
        raise raised

    with pytest.raises(raised):
        wb.replay(run, isolate=isolate, progress=stop)
    assert made(folders).status == "cancelled"


@pytest.mark.parametrize("isolate", [True, False])
def test_progress_ends_with_every_call_answered(folders, world, isolate):
    run = wb.record(folders, "isolated_agents:many", 20)
    told = []
    result = wb.replay(run, isolate=isolate, progress=lambda *now: told.append(now))
    assert result.identical
    assert told[-1] == (20, 20)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_a_bar_is_shown_when_a_replay_takes_longer_than_a_second(capsys):
    bar = Bar()
    bar(1, 4)
    assert capsys.readouterr().err == ""
    bar._began -= 2
    bar(3, 4)
    bar.close()
    said = capsys.readouterr().err
    assert "3 of 4 calls, 00:02" in said
    assert "?" not in said
    assert said.rpartition("\r")[2] == ""


PARENT = """
import sys
from pathlib import Path
from workbench.replay import isolation
from workbench.replay.policy import Policy
from workbench.schema import RunHeader
from workbench.store import export, read

store = read(sys.argv[1])
run = store.run(store.runs()["run_id"][0])
sink = export.writer(Path(sys.argv[1] + "-replayed"), RunHeader())
options = {"policy": Policy().as_dict(), "collect": False, "redact": []}
job = isolation.Job(session="workbench.replay.session:from_options", options=options)

def tell(done, total):
    print(child._process.pid, flush=True)

with isolation.started(run) as child:
    child.imported()
    child.play(job, run, sink, progress=tell)
"""


def is_running(process):
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_a_child_does_not_outlive_whoever_asked_it(folders, world, home, monkeypatch):
    run = wb.record(folders, "isolated_agents:waiting", None)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(folders._folders[run.run_id])],
        stdout=subprocess.PIPE,
        text=True,
    )
    child = int(parent.stdout.readline())
    assert is_running(child)
    parent.kill()
    parent.communicate()
    for _ in range(1000):
        if not is_running(child):
            break
        threading.Event().wait(0.01)
    assert not is_running(child)


# ---- what the agent does to its process


def test_what_an_agent_prints_does_not_mix_with_the_answer(folders, world, home):
    assert replayed(folders, "printing").identical


def test_an_agent_may_close_the_files_it_does_not_know(folders, world, home):
    assert replayed(folders, "closing", 256).identical


def test_an_agent_that_closes_every_file_is_told_so(folders, world, home):
    with pytest.raises(errors.NotReplayable, match="before its time") as caught:
        replayed(folders, "closing", 70_000)
    assert "the pipe that leads out of the replay was closed" in caught.value.found
    assert made(folders).status == "failed"


def test_a_thread_that_an_agent_leaves_does_not_keep_its_answer(folders, world, home):
    assert replayed(folders, "leaving").identical


FORKS = """
import os, threading, warnings
from replay_agents import ask
from isolated_agents import away

if away():
    warnings.simplefilter("ignore")
    if os.fork():
        threading.Event().wait(0.5)  # the other one is there first, and would take what is sent

def agent(given):
    return [ask("one"), ask("two")]
"""


def test_a_process_that_an_agent_forks_when_it_is_imported_answers_nothing(
    folders, poison, home, tmp_path, monkeypatch
):
    (tmp_path / "a_forking_agent.py").write_text(FORKS)
    monkeypatch.syspath_prepend(str(tmp_path))
    run = wb.record(folders, "a_forking_agent:agent", "x")
    poison()
    result = wb.replay(run, isolate=True)
    sys.modules.pop("a_forking_agent")
    assert result.identical
    assert result.run.events["writer"].n_unique() == 1


class Watched(FolderRuns):
    """Keeps which events came for the last run."""

    def writer(self, header):
        self.types, sink = [], super().writer(header)
        append = sink.append

        def kept(events, bodies=None):
            self.types += [event.event_type for event in events]
            append(events, bodies)

        sink.append = kept
        return sink


def test_events_come_home_while_the_agent_runs(tmp_path, world, home):
    """The agent goes on when its first call has been seen here, and not before."""
    store, path = Watched(tmp_path / "runs"), tmp_path / "seen"

    def look(done, total):
        if "call_ended" in store.types and not path.exists():
            assert "run_ended" not in store.types
            path.touch()

    result = replayed(store, "watched", str(path), progress=look, timeout=120)
    assert result.identical
    assert path.exists()


# ---- what it begins with


def test_the_child_begins_with_the_hash_seed_that_was_recorded(folders, world, monkeypatch):
    def seeded(given):
        said = msgspec.json.encode({"label": "world", "value": {"hash_seed": given}})
        scope.current().session.journal.put("annotated", payload=said)
        return isolated_agents.hashing(given)

    for seed in ("7", "8"):
        run = wb.record(folders, seeded, seed)
        result = wb.replay(run, "isolated_agents:hashing", isolate=True)
        expected = subprocess.run(
            [sys.executable, "-c", "print(hash('a word'))"],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        )
        assert result.output == int(expected.stdout)


@pytest.mark.parametrize("known", ["here", "in the store"])
def test_a_baseline_holds_for_its_strength_alone(folders, world, module, monkeypatch, known):
    run = wb.record(folders, f"{module}:alone", "x")

    def unbaselined(*, isolate):
        if known == "in the store":
            monkeypatch.setattr(verb, "_baselines", set())
        fork = wb.fork(run, at=run.calls["seq"][0], isolate=isolate)
        return "unbaselined" in fork.run().run.labels

    assert unbaselined(isolate=True)
    assert unbaselined(isolate=False)
    isolated = wb.replay(run, isolate=True)
    assert isolated.identical
    assert not unbaselined(isolate=True)
    assert unbaselined(isolate=False)
    guarded = wb.replay(run)
    assert not unbaselined(isolate=False)
    assert guarded.run.labels["code"] == isolated.run.labels["code"]


def test_a_baseline_holds_for_its_python_alone():
    made = {"functions": {"f": "1"}, "distributions": {"python": "3.11.1", "x": "1"}}
    upgraded = {**made, "distributions": {"python": "3.12.1", "x": "1"}}
    other = {**made, "distributions": {"python": "3.11.1", "x": "2"}}
    assert verb.code_digest(made) != verb.code_digest(upgraded)
    assert verb.code_digest(made) == verb.code_digest(other)


# ---- the pipe


@pytest.mark.parametrize("size", [1, 7, 4096, 1 << 20])
def test_messages_come_out_whole_however_they_are_cut(size):
    sent = [
        pipes.Progress(done=1, total=2),
        pipes.Answer(played={"text": "a" * 10_000, "number": 2**70}),
        pipes.Problem(problem={}),
    ]
    written = b"".join(pipes.framed(message) for message in sent)
    frames, found = pipes.Frames(), []
    for begin in range(0, len(written), size):
        found += frames.take(written[begin : begin + size])
    assert found == sent
