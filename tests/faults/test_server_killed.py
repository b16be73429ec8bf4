"""A server killed in the middle of ingestion loses nothing that it acknowledged."""

from __future__ import annotations

import pytest
from plays import Play


@pytest.fixture(scope="module")
def server(stack):
    return stack.server()


def test_a_killed_server_loses_nothing_acknowledged(stack, server, rng, turn):
    play = Play(stack=stack, servers=[server], rng=rng)
    play.start()
    play.reach(rng.random())
    server.kill()
    assert play.look() == []
    server.start()
    play.end()


def test_a_server_that_answers_before_it_commits_is_found_out(stack, rng):
    server = stack.server(broken="early")
    play = Play(stack=stack, servers=[server], rng=rng)
    play.start(most=5)
    play.reach(0.2)
    server.kill()
    lost = play.look()
    for writer in play.writers:
        writer.stop()
    server.program = ["-m", "workbench_server"]
    server.start()
    assert any("was acknowledged and is not stored" in text for text in lost)
