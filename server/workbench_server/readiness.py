"""What the server reaches, asked in a bounded time whatever hangs."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from workbench.errors import Unavailable
from workbench_server.database import connected
from workbench_server.queries import queries
from workbench_server.storage import is_reachable
from workbench_server.versions import own_migrations

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from workbench_server.database import Pool
    from workbench_server.storage import Storage

PATIENCE_S = 2.0

_WORKER_IS_AWAY_S = 60.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the database says of itself; `backlog` is empty where its migrations are missing."""

    missing: list[str]
    backlog: dict[str, Any]


class Probe(Generic[T]):
    """A question that may hang: nobody waits longer than `PATIENCE_S`, nor is it asked twice."""

    def __init__(self, ask: Callable[[], Awaitable[T]]) -> None:
        self._ask = ask
        self._asking: asyncio.Future[T] | None = None

    async def answer(self) -> T | None:
        """Return the answer, or None where none came in time."""
        if self._asking is None:
            self._asking = asyncio.ensure_future(self._ask())
            self._asking.add_done_callback(self._forget)
        done, _ = await asyncio.wait({self._asking}, timeout=PATIENCE_S)
        asked = next(iter(done), None)
        return None if asked is None or asked.cancelled() or asked.exception() else asked.result()

    def _forget(self, asked: asyncio.Future[T]) -> None:
        self._asking = None
        if not asked.cancelled():
            asked.exception()


class Readiness:
    """What the probes of one app found; `stop` makes it not ready for good."""

    def __init__(self, pool: Pool, storage: Storage) -> None:
        self.is_stopping = False
        self.database = Probe(lambda: _look(pool))
        self.storage = Probe(lambda: is_reachable(storage))

    def stop(self) -> None:
        self.is_stopping = True

    async def check(self) -> dict[str, Any]:
        """Return what was looked at, or raise with what is missing."""
        if self.is_stopping:
            raise Unavailable(
                "the server is not ready",
                where="server",
                found="it is stopping",
                hint="Ask another replica, or wait until it is started again.",
            )
        found, stored = await asyncio.gather(self.database.answer(), self.storage.answer())
        checks = {
            "database": "ok" if found else "unreachable",
            "migrations": _migrations(found),
            "storage": "ok" if stored else "unreachable",
            "worker": _worker(found),
        }
        bad = {name: _HINTS[name] for name in _HINTS if checks[name] not in ("ok", "unknown")}
        if bad:
            raise Unavailable(
                "the server is not ready",
                where=", ".join(bad),
                found="; ".join(f"{name} {checks[name]}" for name in bad),
                hint=" ".join(bad.values()),
                checks=checks,
            )
        return checks


_HINTS = {
    "database": "Check that Postgres runs and WORKBENCH_APP_DATABASE_URL names it.",
    "migrations": "Run `workbench migrate`.",
    "storage": "Check WORKBENCH_STORAGE_URL and the AWS_* variables.",
}


async def _look(pool: Pool) -> Found:
    sql = queries("operation")
    async with asyncio.timeout(PATIENCE_S), connected(pool) as connection:
        rows = await (await connection.execute(sql["migrations"])).fetchall()
        missing = sorted(_wanted() - {row["name"] for row in rows})
        if missing:
            return Found(missing=missing, backlog={})
        row = await (await connection.execute(sql["backlog"])).fetchone()
    return Found(missing=[], backlog=row or {})


@cache
def _wanted() -> frozenset[str]:
    return frozenset(own_migrations())


def _migrations(found: Found | None) -> str:
    if found is None:
        return "unknown"
    return f"missing: {', '.join(found.missing)}" if found.missing else "ok"


def _worker(found: Found | None) -> str:
    """Say how the worker is: without one the log is kept all the same, so it stops nobody."""
    if found is None or not found.backlog:
        return "unknown"
    seen = found.backlog["worker_seen_s"]
    if seen is None:
        return "not seen"
    return "ok" if seen < _WORKER_IS_AWAY_S else f"not seen for {seen:.0f} s"
