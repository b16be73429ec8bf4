"""Answers come back in declared order, or in the recorded one: whatever follows from it is equal.

What an agent gives back here is the order itself.
"""

import msgspec
import order_agents as agents
import pytest
from kept import Kept

from workbench import recording as recordings
from workbench.capture import agents as found
from workbench.capture import code
from workbench.capture.journal import Journal
from workbench.capture.record import record_into
from workbench.replay.playing import play
from workbench.replay.policy import Policy
from workbench.replay.session import ReplaySession

TIMES = 50
ORDERED = [
    agents.as_they_come,
    agents.first_of_them,
    agents.into_a_list,
    agents.two_at_a_time,
    agents.nested,
    agents.waiting_for_another,
    agents.streams,
    agents.from_threads,
    agents.polling,
    agents.executor_as_completed,
    agents.executor_first,
    agents.threads_into_a_list,
    agents.streams_in_threads,
    agents.pool_of_one,
    agents.pool_of_two_with_chains,
    agents.joined_in_the_way,
    agents.branches_as_they_end,
    agents.abranches_as_they_end,
]


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


@pytest.mark.parametrize("agent", ORDERED, ids=by_name)
def test_answers_come_back_in_the_recorded_order_every_time(agent):
    for _ in range(TIMES):
        recording, gave = recorded(agent)
        played = replayed(recording, agent, order="completed")
        assert played.identical, played.divergences
        assert played.output == gave
        assert played.notices == []
