"""The pool, and the one way into it: a transaction that names its workspace first."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout
from psycopg_pool.pool_async import AddConnection

from workbench.errors import StackFailed, Unavailable, UnsafeRole
from workbench_server.queries import queries

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from uuid import UUID

Connection = psycopg.AsyncConnection[dict[str, Any]]
Pool = AsyncConnectionPool[Connection]

_WAIT_S = 10.0
_AGAIN_S = 0.5
_LONGEST_S = 60.0  # that anything may take of the database: it may hang, and say nothing


class _Pool(AsyncConnectionPool[Connection]):
    """Looks for a database that is away as often at the end as at the beginning.

    Left to itself a pool doubles its pause, and comes back up to twice as late as the database.
    """

    async def schedule_task(self, task: Any, delay: float) -> None:
        soon = min(delay, _AGAIN_S) if isinstance(task, AddConnection) else delay
        await super().schedule_task(task, soon)


def make_pool(url: str, *, size: int = 16, autocommit: bool = False) -> Pool:
    """Return a closed pool of connections whose rows are dicts."""
    return _Pool(
        url,
        connection_class=psycopg.AsyncConnection[dict[str, Any]],
        kwargs={
            "row_factory": dict_row,
            "application_name": "workbench",
            "autocommit": autocommit,
        },
        min_size=1,
        max_size=size,
        timeout=_WAIT_S,
        open=False,
    )


async def open_safely(pool: Pool, url: str) -> None:
    """Open the pool and refuse a role that row-level security does not bind."""
    role = await _role_of(url)
    if role is None or role["unsafe"]:
        raise unsafe_role(role)
    if not role["migrated"]:
        raise StackFailed("the database has no tables yet", hint="Run `workbench migrate` first.")
    await pool.open(wait=True, timeout=_WAIT_S)


async def _role_of(url: str) -> dict[str, Any] | None:
    """Ask on a connection of its own: a pool would try again and again before it said why."""
    try:
        async with await Connection.connect(url, row_factory=dict_row) as connection:
            cursor = await connection.execute(queries("access")["role"])
            return await cursor.fetchone()
    except psycopg.OperationalError as error:
        raise Unavailable("the database cannot be reached", found=str(error).strip()) from error


def unsafe_role(role: dict[str, Any] | None) -> UnsafeRole:
    """Return the error for a role that row-level security does not bind."""
    return UnsafeRole(
        "the database role could read other workspaces",
        where=None if role is None else role["name"],
        expected="a role without superuser, BYPASSRLS and tables of its own",
        hint="Run `workbench migrate`, and connect as workbench_app or workbench_worker.",
    )


@asynccontextmanager
async def transaction(pool: Pool, workspace_id: UUID) -> AsyncIterator[Connection]:
    """Open a transaction that sees one workspace."""
    async with connected(pool) as connection, connection.transaction():
        await connection.execute(queries("access")["enter"], {"workspace_id": str(workspace_id)})
        yield connection


@asynccontextmanager
async def connected(pool: Pool) -> AsyncIterator[Connection]:
    """Take a connection for a while, or say that the database cannot be reached."""
    bound = asyncio.timeout(_LONGEST_S)
    try:
        async with bound, pool.connection() as connection:
            yield connection
    except TimeoutError as error:
        if not bound.expired():
            raise
        raise Unavailable(
            "the database took too long", expected=f"at most {_LONGEST_S:.0f} seconds"
        ) from error
    except (psycopg.OperationalError, PoolTimeout) as error:
        raise Unavailable("the database cannot be reached", found=str(error).strip()) from error
