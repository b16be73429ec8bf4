"""Who asks: an API key names a workspace and a role in it."""

import time
from dataclasses import dataclass
from typing import Annotated, Literal
from uuid import UUID

from fastapi import Depends, Request

from workbench.errors import Forbidden, Unauthenticated
from workbench_server.database import Pool, connected
from workbench_server.limits import DEFAULT, Limits
from workbench_server.queries import queries
from workbench_server.workspaces import key_hash

_REMEMBER_S = 5.0  # a revoked key works no longer than this
_MOST_REMEMBERED = 1000

Role = Literal["reader", "writer", "admin"]
_RANK = {"reader": 0, "writer": 1, "admin": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """A workspace and what its key allows."""

    workspace_id: UUID
    name: str
    role: Role
    limits: Limits = DEFAULT


class Keys:
    """Looks keys up, and remembers those found for a few seconds."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._known: dict[bytes, tuple[float, Caller]] = {}

    async def caller(self, key: str) -> Caller | None:
        hashed = key_hash(key)
        until, caller = self._known.get(hashed, (0.0, None))
        if caller is not None and until > time.monotonic():
            return caller
        found = await self._look_up(hashed)
        if found is None:
            self._known.pop(hashed, None)
            return None
        if len(self._known) >= _MOST_REMEMBERED:
            self._known.clear()
        self._known[hashed] = (time.monotonic() + _REMEMBER_S, found)
        return found

    async def _look_up(self, hashed: bytes) -> Caller | None:
        async with connected(self._pool) as connection:
            rows = await connection.execute(
                queries("access")["workspace_of_key"], {"key_hash": hashed}
            )
            row = await rows.fetchone()
        return None if row is None else Caller(**row)


def key_of(request: Request) -> str | None:
    """Return the bearer key of a request."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    return key.strip() or None if scheme.lower() == "bearer" else None


async def authenticated(request: Request) -> Caller:
    """Return who asks, or refuse."""
    key = key_of(request)
    caller = None if key is None else await request.app.state.keys.caller(key)
    if caller is None:
        raise Unauthenticated(
            "the API key is missing, unknown or expired",
            hint="Send `Authorization: Bearer KEY`; WORKBENCH_API_KEY holds it.",
        )
    found: Caller = caller
    return found


async def writing(caller: Annotated[Caller, Depends(authenticated)]) -> Caller:
    """Refuse a key that may only read."""
    if _RANK[caller.role] < _RANK["writer"]:
        raise Forbidden("this key may only read", expected="writer or admin", found=caller.role)
    return caller


Reader = Annotated[Caller, Depends(authenticated)]
Writer = Annotated[Caller, Depends(writing)]
