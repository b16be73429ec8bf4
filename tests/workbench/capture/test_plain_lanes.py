"""Plain Python: whatever runs side by side, equal runs have equal lanes, ordinals and signatures.

Each agent runs fifty times with random sleeps in all its calls. What nobody can order is said to be
so, every time.
"""

import asyncio
import contextvars
import queue
import threading

import lane_agents as agents
import msgspec
import pytest
from kept import Kept
from lane_agents import ask

from workbench import errors
from workbench import recording as recordings
from workbench.capture import RecordingWarning, code
from workbench.capture import agents as found
from workbench.capture.journal import Journal
from workbench.capture.record import record_into
from workbench.replay.playing import play
from workbench.replay.policy import Policy
from workbench.replay.session import ReplaySession

TIMES = 50


def numbered(prefix, *numbers):
    return [f"{prefix}/{number}" for number in numbers]


LANES = {
    agents.in_order: ["root"],
    agents.in_order_async: ["root"],
    agents.in_a_copied_context: ["root"],
    agents.gathered: numbered("root", 1, 2, 3, 4),
    agents.chains: numbered("root", 1, 2, 3, 4),
    agents.grouped: numbered("root", 1, 2, 3, 4),
    agents.awaited_backwards: ["root", *numbered("root", 1, 2, 3, 4)],
    agents.as_they_come: numbered("root", 1, 2, 3, 4),
    agents.in_time: numbered("root", 1, 2, 3),
    agents.shielded: numbered("root", 1, 2, 3, 4, 5),
    agents.tasks_in_tasks: [
        *(f"root/{i}/{j}" for i in (1, 2) for j in (1, 2)),
        *(f"root/{i}/3/{j}" for i in (1, 2) for j in (1, 2, 3, 4)),
    ],
    agents.in_one_context: numbered("root", 1, 2, 3),
    agents.by_its_own_factory: [
        *numbered("root", 1, 2, 3),
        *numbered("root/4", 1, 2, 3, 4),
    ],
    agents.with_a_runner: ["root", *numbered("root", 1, 2, 3, 4)],
    agents.runners_in_threads: ["root", "root/1", *numbered("root/2", 1, 2, 3, 4)],
    agents.in_a_group_of_anyio: numbered("root", 1, 2, 3, 4, 5, 6),
    agents.mapped: numbered("root", 1, 2, 3, 4, 5),
    agents.submitted: numbered("root", 1, 2, 3, 4),
    agents.in_threads: ["root", *numbered("root", 1, 2, 3, 4)],
    agents.in_bare_threads: numbered("root", 1, 2, 3),
    agents.pools_in_pools: [f"root/{i}/{j}" for i in (1, 2, 3) for j in (1, 2)],
    agents.followed: numbered("root", 1, 2, 3, 4, 5, 6, 7, 8),
    agents.threads_of_tasks: [
        *numbered("root", 1, 2),
        *(f"root/{i}/{j}" for i in (3, 4) for j in (1, 2, 3, 4, 5)),
        *("root/5", "root/6"),
        *numbered("root/7", 1, 2),
    ],
    agents.tasks_of_threads: [f"root/{i}/{j}" for i in (1, 2, 3) for j in (1, 2, 3, 4)],
    agents.handed_to_a_loop: [f"root/{i}/{j}" for i in (2, 3) for j in (1, 2)],
    agents.workers: [
        "root",
        *(f"root/>{i}" for i in (1, 2, 3, 4, 5, 6)),
        *(f"root/>{i}/{j}" for i in (1, 2, 3, 4, 5, 6) for j in (1, 2)),
    ],
    agents.a_line_of_workers: [
        "root",
        *(f"root/>{i}" for i in (1, 2, 3, 4, 5)),
        *(f"root/>{i}/>1" for i in (1, 2, 3, 4, 5)),
    ],
    agents.workers_of_tasks: [f"root/>{i}" for i in (1, 2, 3, 4, 5, 6)],
    agents.iterators_in_threads: ["root", "root/1"],
    agents.iterators_in_tasks: numbered("root", 1, 2, 3, 4),
    agents.a_generator_that_asks: ["root", "root/1"],
    agents.retried: ["root"],
    agents.retried_side_by_side: numbered("root", 1, 2, 3),
}
if agents.eager in agents.ALL:
    LANES[agents.eager] = LANES[agents.by_its_own_factory]
assert {*LANES} == {*agents.ALL}


def by_name(agent):
    return agent.__name__


@pytest.fixture(autouse=True)
def _world(world):
    """A world of its own for each test."""


def recorded(agent):
    """Record an agent into memory, and return what a replay reads."""
    kept, target = Kept(), found.find_agent(agent)
    call = found.RootCall.of(target, None, entry=None, config=None, stream_mode=None)
    _, ended = record_into(kept, target, call)
    if ended.error is not None:
        raise ended.error
    events = [msgspec.structs.replace(e, seq=seq) for seq, e in enumerate(kept.events, 1)]
    return recordings.read(events, kept.bodies)


def replayed(recording, agent):
    """Replay it exactly; every function that would be called is poisoned."""
    agents.world.poisoned = True
    try:
        target = found.find_agent(agent)
        session = ReplaySession(Journal(Kept()), recording, policy=Policy())
        return play(session, recording, target, now=made_of(target))
    finally:
        agents.world.poisoned = False


def made_of(target):
    return code.fingerprint(target.target, entry_point=target.entry_point)


def shape(recording):
    """Return what is equal in equal runs of an agent whose answers are not."""
    return [(c.lane, c.ordinal, c.kind, c.name, c.status, c.order) for c in in_place(recording)]


def in_place(recording):
    return sorted(recording.calls, key=lambda call: (call.lane, call.ordinal))


# chains ask what they were answered, which differs from run to run
CHANGING = {agents.chains, agents.tasks_in_tasks, agents.a_line_of_workers}


@pytest.mark.parametrize("agent", LANES, ids=by_name)
def test_lanes_ordinals_and_signatures_are_those_of_every_other_run(agent):
    runs = [recorded(agent) for _ in range(TIMES)]
    assert sorted(runs[0].calls.lanes) == sorted(LANES[agent])
    assert {tuple(shape(run)) for run in runs} == {tuple(shape(runs[0]))}
    assert {call.order for call in runs[0].calls} == {"declared"}
    if agent not in CHANGING:
        signed = {tuple(call.signature for call in in_place(run)) for run in runs}
        assert len(signed) == 1


@pytest.mark.parametrize(
    "agent",
    [agents.gathered, agents.chains, agents.mapped, agents.retried_side_by_side, agents.workers],
    ids=by_name,
)
def test_answers_go_to_whom_they_went_every_time(agent):
    for _ in range(TIMES):
        played = replayed(recorded(agent), agent)
        assert played.identical, played.divergences


def test_every_attempt_is_recorded_and_a_failure_is_raised_as_its_class():
    run = recorded(agents.retried_side_by_side)
    lanes = {
        lane: [run.calls[number].status for number in run.calls.in_lane(lane)]
        for lane in run.calls.lanes
    }
    assert lanes == {f"root/{i}": ["error", "error", "ok"] for i in (1, 2, 3)}
    assert {c.exception["class"] for c in run.calls if c.exception} == {
        "builtins:ConnectionResetError"
    }


def test_the_loop_of_uvloop_gives_lanes_too():
    uvloop = pytest.importorskip("uvloop")

    def agent(_):
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return [runner.run(agents.tasks_in_tasks(None)), runner.run(agents.in_time(None))]

    runs = [recorded(agent) for _ in range(TIMES)]
    assert {tuple(shape(run)) for run in runs} == {tuple(shape(runs[0]))}
    assert {call.order for call in runs[0].calls} == {"declared"}
    assert len(runs[0].calls.lanes) == 12 + 3
    assert replayed(runs[0], agent).identical


# ---- what nobody can order


@pytest.fixture
def earlier():
    """A thread that was there before the recording, and runs what it is sent."""
    jobs = queue.SimpleQueue()

    def work():
        while (job := jobs.get()) is not None:
            job()

    thread = threading.Thread(target=work)
    thread.start()
    yield jobs.put
    jobs.put(None)
    thread.join()


def sent_to_a_thread_that_was_there(send):
    def agent(_):
        done = threading.Event()
        context = contextvars.copy_context()
        send(lambda: (context.run(ask, "there"), done.set()))
        ask("here")
        return done.wait(5)

    return agent


@pytest.mark.parametrize(
    "agent",
    [*agents.BESIDE, None],
    ids=lambda agent: getattr(agent, "__name__", "a thread that was there"),
)
def test_what_runs_beside_its_parent_is_said_to_and_refused_in_exact(agent, earlier):
    agent = agent or sent_to_a_thread_that_was_there(earlier)
    for _ in range(TIMES):
        with pytest.warns(RecordingWarning, match="order is inferred"):
            run = recorded(agent)
        orders = {call.lane.startswith("root/?"): call.order for call in run.calls}
        assert orders == {False: "declared", True: "inferred"}
        assert len(run.calls) == 2
        with pytest.raises(errors.RecordingIncomplete, match="ran beside another call"):
            run.require_complete()
