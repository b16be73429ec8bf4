"""The way into the database: what does not come back is given up, and the pool goes on."""

import asyncio

import pytest
from workbench_server import database
from workbench_server.database import connected, make_pool

from workbench.errors import Unavailable


def with_pool(url, work):
    async def run():
        pool = make_pool(url, size=1)
        await pool.open(wait=True)
        try:
            return await work(pool)
        finally:
            await pool.close()

    return asyncio.run(run())


def test_a_question_without_end_is_given_up_and_its_connection_is_free_again(server, monkeypatch):
    async def ask(pool):
        monkeypatch.setattr(database, "_LONGEST_S", 0.2)
        with pytest.raises(Unavailable, match="took too long"):
            async with connected(pool) as connection:
                await connection.execute("select pg_sleep(600)")
        monkeypatch.undo()
        async with connected(pool) as connection:
            return await (await connection.execute("select 1 as one")).fetchone()

    assert with_pool(server.database.app_url, ask) == {"one": 1}


def test_a_time_limit_of_the_caller_s_own_stays_one(server):
    async def ask(pool):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2), connected(pool) as connection:
                await connection.execute("select pg_sleep(600)")
        with pytest.raises(TimeoutError, match="the caller's"):
            async with connected(pool):
                raise TimeoutError("the caller's")

    with_pool(server.database.app_url, ask)
