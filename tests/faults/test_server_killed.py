"""A server killed in the middle of ingestion loses nothing that it acknowledged."""

from __future__ import annotations

import pytest
from plays import Play, end_all
from recorders import Recorder

from workbench.store import connect


@pytest.fixture(scope="module")
def server(stack):
    return stack.server()


def test_a_killed_server_loses_nothing_acknowledged(stack, server, rng, turn):
    plays = [Play(stack=stack, servers=[server], rng=rng) for _ in range(2)]
    with connect(server.url, stack.workspace.api_key) as store:
        recorder = Recorder(store)
        recorded = Play(
            stack=stack, servers=[server], rng=rng, run_id=recorder.run_id, known=recorder.known
        )
        recorder.start()
        for play in plays:
            play.start(2)
        plays[0].reach(rng.random())
        server.kill()
        assert [play.look() for play in (*plays, recorded)] == [[], [], []]
        server.start()
        recorder.end()
    end_all(*plays)
    assert recorder.journal.error is None
    assert recorded.look(complete=True) == []


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
