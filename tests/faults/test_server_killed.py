"""A server killed in the middle of ingestion loses nothing that it acknowledged."""

from __future__ import annotations

import pytest
from machines import until
from plays import Play
from recorders import Recorder

from workbench.store import connect


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


def test_a_recorder_survives_a_killed_server(stack, server, rng, turn):
    with connect(server.url, stack.workspace.api_key) as store:
        recorder = Recorder(store)
        play = Play(
            stack=stack, servers=[server], rng=rng, run_id=recorder.run_id, known=recorder.known
        )
        recorder.start()
        wanted = rng.randrange(150)
        until(lambda: len(recorder.known.acknowledged) >= wanted, "the recorder is under way")
        server.kill()
        assert play.look() == []
        server.start()
        recorder.end()
    assert recorder.journal.error is None
    assert play.look(complete=True) == []


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
