"""A replica comes and goes under load: what it did not answer goes to another, once."""

from __future__ import annotations

import signal

import pytest
from machines import end
from plays import Play, end_all


@pytest.fixture(scope="module")
def staying(stack):
    return stack.server()


@pytest.fixture(scope="module")
def going(stack):
    made = stack.server()
    made.kill()
    return made


def test_a_replica_added_and_removed_loses_and_doubles_nothing(stack, staying, going, rng, turn):
    play = Play(stack=stack, servers=[staying], rng=rng)
    play.start(most=8)
    play.reach(rng.random() * 0.3)
    going.start()
    play.servers.append(going)
    spread(play)
    play.reach(0.3 + rng.random() * 0.6)
    number = rng.choice([signal.SIGTERM, signal.SIGKILL])
    end(going.process, number)
    assert play.look() == []
    play.servers.remove(going)
    end_all(play)
    assert number == signal.SIGKILL or going.process.returncode in (0, -signal.SIGTERM)


def spread(play):
    """Let some clients connect anew, as they do where a balancer stands between."""
    for writer in play.writers[::2]:
        writer.move()


def test_a_replica_that_answers_before_it_commits_is_found_out(stack, staying, rng):
    going = stack.server(broken="early")
    play = Play(stack=stack, servers=[going], rng=rng)
    play.start(most=5)
    play.reach(0.3)
    end(going.process, signal.SIGTERM)
    play.servers[:] = [staying]
    lost = play.look()
    for writer in play.writers:
        writer.stop()
    assert any("was acknowledged and is not stored" in text for text in lost)
