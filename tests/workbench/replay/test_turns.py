"""Answers come back in declared order, or in the recorded one: whatever follows from it is equal.

What an agent gives back here is the order itself.
"""

import asyncio
import os
import threading

import msgspec
import order_agents as agents
import pytest
from kept import Kept

import workbench as wb
from workbench import errors
from workbench import recording as recordings
from workbench.capture import agents as found
from workbench.capture import code, scope
from workbench.capture.journal import Journal
from workbench.capture.record import record_into
from workbench.replay import loops, policy, quiet, turns
from workbench.replay.playing import play
from workbench.replay.policy import Policy
from workbench.replay.session import ReplaySession

TIMES = int(os.environ.get("WORKBENCH_REPEAT", "10"))


@pytest.fixture(autouse=True)
def _world(world):
    """A world of its own for each test."""


def by_name(agent):
    return agent.__name__


def recorded(agent):
    """Record an agent into memory, and return what a replay reads and what it gave back."""
    kept, target = Kept(), found.find_agent(agent)
    call = found.RootCall.of(target, None, entry=None, config=None, stream_mode=None)
    _, ended = record_into(kept, target, call)
    if ended.error is not None:
        raise ended.error
    events = [msgspec.structs.replace(e, seq=seq) for seq, e in enumerate(kept.events, 1)]
    return recordings.read(events, kept.bodies), ended.output


def replayed(recording, agent, **options):
    agents.world.poisoned = True
    try:
        target = found.find_agent(agent)
        session = ReplaySession(Journal(Kept()), recording, policy=Policy(), **options)
        made_of = code.fingerprint(target.target, entry_point=target.entry_point)
        return play(session, recording, target, now=made_of)
    finally:
        agents.world.poisoned = False


@pytest.mark.parametrize("agent", agents.ORDERED, ids=by_name)
def test_answers_come_back_in_the_recorded_order_every_time(agent):
    for _ in range(TIMES):
        recording, gave = recorded(agent)
        played = replayed(recording, agent, order="completed")
        assert played.identical, played.divergences
        assert played.output == gave
        assert played.notices == []


def test_the_recorded_order_is_none_that_happens_by_itself():
    """In declared order these agents do not find it: else the test above would prove nothing."""
    for agent in (agents.as_they_come, agents.executor_as_completed):
        runs = [recorded(agent) for _ in range(10)]
        assert not all(replayed(recording, agent).identical for recording, _ in runs)


def test_released_in_asking_order_the_same_replays_go_red(monkeypatch):
    monkeypatch.setattr(turns.Marks, "reached", lambda *_: True)
    runs = [recorded(agents.into_a_list) for _ in range(10)]
    played = [replayed(found, agents.into_a_list, order="completed") for found, _ in runs]
    assert not all(one.identical for one in played)


def test_where_the_order_cannot_come_about_the_replay_goes_on_and_says_so():
    recording, gave = recorded(agents.lock_after_a_sleep)
    played = replayed(recording, agents.lock_after_a_sleep, order="completed")
    assert played.identical, played.divergences
    assert played.output == gave
    assert {notice.kind for notice in played.notices} == {"order_not_kept"}


def test_a_call_that_is_not_made_any_more_holds_nobody_up():
    recording, _ = recorded(agents.executor_first)

    def without(_):
        with agents.ThreadPoolExecutor(3) as pool:
            return [pool.submit(agents.ask, number).result() for number in range(2)]

    kinds = {found.kind for found in replayed(recording, without, order="completed").divergences}
    assert "missing_call" in kinds


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_replay_that_stops_lets_those_go_that_wait():
    recording, _ = recorded(agents.threads_into_a_list)

    def changed(_):
        def keep(number):
            agents.ask(number if number != 2 else "another")

        threads = [agents.threading.Thread(target=keep, args=(n,)) for n in range(1, 4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    played = replayed(recording, changed, order="completed")
    assert "request_changed" in {found.kind for found in played.divergences}


def test_no_other_order_is_known(folders):
    run = wb.record(folders, agents.joined_in_the_way, None)
    with pytest.raises(errors.UsageError, match="no such order"):
        wb.replay(run, agents.joined_in_the_way, order="random")
    assert wb.replay(run, agents.joined_in_the_way, order="completed").identical


# ---- declared order: nobody starves, and who was cancelled is cancelled


@pytest.mark.parametrize("order", policy.ORDERS)
@pytest.mark.parametrize("agent", agents.LOOSE, ids=by_name)
def test_who_was_cancelled_is_cancelled_again_and_nobody_else(agent, order):
    for _ in range(10):
        recording, gave = recorded(agent)
        played = replayed(recording, agent, order=order)
        assert played.identical, played.divergences
        assert played.output == gave


async def waiting_for_a_sibling(_):
    """Asks until another task is done: it must come to its turn between two answers."""
    done = False

    async def work():
        nonlocal done
        await agents.aask("job")
        done = True

    task = asyncio.create_task(work())
    asked = 0
    while not done:
        asked += 1
        if asked > 1000:
            return "starved"
        await nothing()
    await task
    return "done"


@wb.call(effect="read")
async def nothing():
    await asyncio.sleep(0)


def test_a_task_lets_others_have_their_turn():
    """How often is asked is not what matters here: a replay in declared order does not know it."""
    recording, _ = recorded(waiting_for_a_sibling)
    played = replayed(recording, waiting_for_a_sibling, collect=True)
    assert played.output == "done"


def test_a_task_that_never_waits_lets_nobody(monkeypatch):
    recording, _ = recorded(waiting_for_a_sibling)

    async def at_once(*_, **__):
        return None

    monkeypatch.setattr(loops, "passed", at_once)
    played = replayed(recording, waiting_for_a_sibling, collect=True)
    assert played.output != "done"


@wb.call(effect="read")
async def at_hand():
    return "at hand"


def test_a_coroutine_without_a_loop_is_answered_at_once():
    def by_hand(_):
        try:
            at_hand().send(None)
        except StopIteration as end:
            return end.value

    recording, _ = recorded(by_hand)
    assert replayed(recording, by_hand).identical
    assert replayed(recording, by_hand, order="completed").identical


def test_whoever_looks_whether_others_stand_still_is_none_of_them():
    """A thread that looks runs: were it one of them, each answer would wait for it in vain."""
    session, there, over = object(), threading.Event(), threading.Event()
    looking = quiet.Quiet(session)

    def work():
        there.set()
        over.wait(5)

    other = threading.Thread(
        target=scope.run_carried, args=(scope.Scope(session, scope.Place("root/1")), work)
    )
    other.start()
    there.wait(5)
    own = scope.Scope(session, scope.Place("root"))
    found = scope.run_carried(own, lambda: looking.threads({threading.get_ident()}))
    over.set()
    other.join()
    assert found == {other.ident}
