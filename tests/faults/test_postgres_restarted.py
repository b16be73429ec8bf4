"""Postgres restarted under load: the server says so, comes back, and nothing is lost."""

from __future__ import annotations

import signal

import psycopg
import pytest
from machines import stack_on
from plays import Play, end_all


@pytest.fixture(scope="module")
def server(stack):
    return stack.server()


def test_a_restarted_database_loses_nothing_acknowledged(machine, stack, server, rng, turn):
    plays = [Play(stack=stack, servers=[server], rng=rng) for _ in range(2)]
    for play in plays:
        play.start(2)
    plays[0].reach(rng.random() * 0.9)
    machine.restart(rng.choice([signal.SIGINT, signal.SIGQUIT]))
    assert [play.look() for play in plays] == [[], []]
    end_all(*plays)


def test_a_database_that_commits_later_is_found_out(machine, tmp_path, rng):
    with stack_on(machine, tmp_path) as stack:
        with psycopg.connect(stack.owner_url, autocommit=True) as owner:
            owner.execute("alter system set wal_writer_delay = '10s'")
            owner.execute("select pg_reload_conf()")
            owner.execute(f"alter database {stack.database.name} set synchronous_commit = off")
        try:
            play = Play(stack=stack, servers=[stack.server()], rng=rng)
            play.start()
            play.reach(0.6)
            machine.restart(signal.SIGQUIT)
            lost = play.look()
            for writer in play.writers:
                writer.stop()
        finally:
            with psycopg.connect(stack.owner_url, autocommit=True) as owner:
                owner.execute("alter system reset wal_writer_delay")
                owner.execute("select pg_reload_conf()")
    assert any("was acknowledged and is not stored" in text for text in lost)
