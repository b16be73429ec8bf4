"""Who asks: an API key names a workspace and a role in it."""

import time
from dataclasses import dataclass
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from fastapi import Depends, Request

from workbench.errors import Forbidden, Unauthenticated
from workbench.redaction import Rule
from workbench_server.database import Pool, connected
from workbench_server.limits import DEFAULT, Limits
from workbench_server.logs import bind
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
    key_id: str = ""
    limits: Limits = DEFAULT
    rules: tuple[Rule, ...] = ()
    key_version: int = 0


class Keys:
    """Looks keys up, and remembers those found for a few seconds."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._known: dict[bytes, tuple[float, Caller]] = {}
        self._forgotten = 0

    async def caller(self, key: str) -> Caller | None:
        hashed = key_hash(key)
        until, caller = self._known.get(hashed, (0.0, None))
        if caller is not None and until > time.monotonic():
            return caller
        before = self._forgotten
        found = await self._look_up(hashed)
        if found is None:
            self._known.pop(hashed, None)
            return None
        caller, lasts_s = found
        if before == self._forgotten:  # else it may have been revoked while it was looked up
            self._remember(hashed, caller, lasts_s=lasts_s)
        return caller

    def forget(self, *, key_id: str | None = None, workspace_id: UUID | None = None) -> None:
        """Look a key, or all keys of a workspace, up again before they are next let in."""
        self._forgotten += 1
        self._known = {
            hashed: (until, caller)
            for hashed, (until, caller) in self._known.items()
            if caller.key_id != key_id and caller.workspace_id != workspace_id
        }

    def _remember(self, hashed: bytes, caller: Caller, *, lasts_s: float | None) -> None:
        if len(self._known) >= _MOST_REMEMBERED:
            self._known.clear()
        remembered_s = _REMEMBER_S if lasts_s is None else min(_REMEMBER_S, lasts_s)
        self._known[hashed] = (time.monotonic() + remembered_s, caller)

    async def _look_up(self, hashed: bytes) -> tuple[Caller, float | None] | None:
        async with connected(self._pool) as connection:
            rows = await connection.execute(
                queries("access")["workspace_of_key"], {"key_hash": hashed}
            )
            row = await rows.fetchone()
        if row is None:
            return None
        lasts_s = row.pop("lasts_s")
        limits = msgspec.convert(row.pop("limits"), Limits)
        rules = msgspec.convert(row.pop("rules"), tuple[Rule, ...])
        return Caller(**row, limits=limits, rules=rules), lasts_s


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
            hint="WORKBENCH_API_KEY holds it; Authorization takes it, by the scheme Bearer.",
        )
    found: Caller = caller
    bind(workspace=str(found.workspace_id))
    request.state.limits = found.limits
    request.app.state.rates.admit(found, requests=1)
    return found


async def writing(caller: Annotated[Caller, Depends(authenticated)]) -> Caller:
    """Refuse a key that may only read."""
    if _RANK[caller.role] < _RANK["writer"]:
        raise Forbidden("this key may only read", expected="writer or admin", found=caller.role)
    return caller


async def administering(caller: Annotated[Caller, Depends(authenticated)]) -> Caller:
    """Refuse a key that is no admin's."""
    if caller.role != "admin":
        raise Forbidden("this is for admins", expected="admin", found=caller.role)
    return caller


Reader = Annotated[Caller, Depends(authenticated)]
Writer = Annotated[Caller, Depends(writing)]
Admin = Annotated[Caller, Depends(administering)]
