"""Sessions: runs that share the name of one, and what they come to together."""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any

from workbench.errors import NotFound
from workbench_server import asked
from workbench_server.cursors import COUNT, NUMBER, TEXT, TIME
from workbench_server.database import transaction
from workbench_server.ordering import Key, Listing, Page, order_of
from workbench_server.queries import queries

if TYPE_CHECKING:
    from uuid import UUID

    from workbench_server.database import Pool

_LISTING = Listing(
    name="sessions",
    keys={
        "last_at": Key(kind=TIME, of=itemgetter("key"), nulls=False),
        "first_at": Key(kind=TIME, of=itemgetter("key"), nulls=False),
        "session": Key(kind=TEXT, of=itemgetter("key"), nulls=False),
        "runs": Key(kind=COUNT, of=itemgetter("key"), nulls=False),
        "errors": Key(kind=COUNT, of=lambda row: int(row["key"]), nulls=False),
        "duration_ms": Key(kind=NUMBER, of=itemgetter("key")),
        "cost": Key(kind=NUMBER, of=itemgetter("key")),
        "tokens": Key(kind=COUNT, of=lambda row: int(row["key"]), nulls=False),
    },
    usual="last_at",
    tie="session",
    tie_kind=TEXT,
)


async def list_sessions(
    pool: Pool, workspace_id: UUID, *, session: str | None, page: Page
) -> dict[str, Any]:
    """Return a page of sessions, and the cursor of the next page where there is one."""
    said = {} if session is None else {"session": asked.text(session, where="session")}
    sql, parameters = queries("sessions"), said | {"workspace_id": workspace_id}
    order = order_of(_LISTING, page, said=said)
    pick = sql["pick"].replace(b"{key}", sql[f"key_{order.key}"])
    parts = [pick, *(sql[name] for name in said), *order.pieces(page, into=parameters)]
    async with transaction(pool, workspace_id) as connection:
        found = await connection.execute(b"\n".join(parts), parameters)
        picked, cursor = order.cut(await found.fetchall(), page)
        names = [row["session"] for row in picked]
        known = {"workspace_id": workspace_id, "sessions": names}
        rows = await (await connection.execute(sql["rows"], known)).fetchall()
    whole = {row["session"]: row for row in rows}
    return {"sessions": [whole[name] for name in names if name in whole], "next_cursor": cursor}


async def get_session(pool: Pool, workspace_id: UUID, *, session: str) -> dict[str, Any]:
    """Return one session, or name the nearest ones."""
    found = await list_sessions(pool, workspace_id, session=session, page=Page(limit=1))
    for row in found["sessions"]:
        one: dict[str, Any] = row
        return one
    async with transaction(pool, workspace_id) as connection:
        key = {"workspace_id": workspace_id}
        rows = await connection.execute(queries("sessions")["names"], key)
        names = [row["session"] async for row in rows]
    raise NotFound.among("session", session, names)
