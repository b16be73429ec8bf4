"""Postgres restarted under load: the server says so, comes back, and nothing is lost."""

from __future__ import annotations

import asyncio
import os
import signal
from types import SimpleNamespace

import psycopg
import pytest
from machines import stack_on, until
from plays import Play, end_all
from psycopg_pool.pool_async import AddConnection, ShrinkPool
from workbench_server.database import make_pool


@pytest.fixture(scope="module")
def server(stack):
    return stack.server()


def stopped(machine):
    machine.restart(signal.SIGINT)


def crashed(machine):
    machine.restart(signal.SIGQUIT)


def without_connections(machine):
    for _ in range(3):
        machine.backends(terminate=True)


def with_a_dead_process(machine):
    """Postgres ends all others and recovers by itself, since the dead one may have spoilt memory."""
    before = machine.starts()
    os.kill(machine.backends()[0], signal.SIGKILL)
    until(lambda: machine.starts() > before, "Postgres has recovered", every_s=0.02)
    until(machine.answers, "Postgres accepts connections", every_s=0.02)


def test_a_restarted_database_loses_nothing_acknowledged(machine, stack, server, rng, turn):
    plays = [Play(stack=stack, servers=[server], rng=rng) for _ in range(2)]
    for play in plays:
        play.start(2)
    plays[0].reach(rng.random() * 0.9)
    rng.choice([stopped, crashed, without_connections, with_a_dead_process])(machine)
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


def test_the_server_looks_for_its_database_as_often_at_the_end_as_at_the_beginning():
    entered = []

    async def enter(delay, action):
        entered.append(delay)

    async def look():
        pool = make_pool("postgresql://nobody@127.0.0.1:1/none")
        pool._sched = SimpleNamespace(enter=enter)
        for delay in (0.1, 1.0, 64.0):
            await pool.schedule_task(AddConnection(pool), delay)
        await pool.schedule_task(ShrinkPool(pool), 600.0)

    asyncio.run(look())
    assert entered == [0.1, 0.5, 0.5, 600.0]
