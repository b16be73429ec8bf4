"""Make a workspace and give it a key, as the database's owner; change its limits, as its admin."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec
import psycopg

from workbench.errors import Conflict, Unavailable, UsageError
from workbench.settings import workspace_name
from workbench_server.database import transaction
from workbench_server.limits import RANGES, Limits
from workbench_server.queries import queries

if TYPE_CHECKING:
    from uuid import UUID

    from workbench_server.database import Pool

_SHORTEST_KEY = 16


def key_hash(key: str) -> bytes:
    """Return what is stored of an API key."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


def create_workspace(database_url: str, *, name: str, key: str, role: str = "admin") -> UUID:
    """Make the workspace where it is new, and add the key where that is new."""
    if len(key) < _SHORTEST_KEY:
        raise UsageError(
            "the API key is missing or too short",
            expected=f"at least {_SHORTEST_KEY} characters",
            found=len(key),
            hint="Put a generated key into WORKBENCH_API_KEY.",
        )
    facts = {"name": workspace_name(name), "key_hash": key_hash(key), "role": role}
    try:
        with psycopg.connect(database_url) as connection:
            row = connection.execute(queries("access")["create_workspace"], facts).fetchone()
    except psycopg.errors.UniqueViolation as error:
        raise Conflict("the key belongs to another workspace", where=name) from error
    except psycopg.errors.CheckViolation as error:
        raise Conflict(
            "the key was revoked or has expired", where=name, hint="Take a new key."
        ) from error
    except psycopg.OperationalError as error:
        raise Unavailable("the database cannot be reached", found=str(error).strip()) from error
    if row is None:
        raise Unavailable("the database made no workspace", where=name)
    made: UUID = row[0]
    return made


async def change_limits(
    pool: Pool, workspace_id: UUID, *, change: dict[str, int | None]
) -> dict[str, int]:
    """Store limits that differ from the defaults, and return all that do; null is the default."""
    for name, value in change.items():
        _check_limit(name, value)
    facts = {"change": msgspec.json.encode(change).decode()}
    async with transaction(pool, workspace_id) as connection:
        row = await (await connection.execute(queries("access")["change_limits"], facts)).fetchone()
    return {} if row is None else dict(row["limits"])


def _check_limit(name: str, value: int | None) -> None:
    if name not in RANGES:
        raise UsageError("there is no such limit", expected=sorted(RANGES), found=name[:80])
    lowest, highest = RANGES[name]
    if value is not None and not lowest <= value <= highest:
        raise UsageError(
            "the limit is out of range",
            where=name,
            expected=f"{lowest} to {highest}, or null for the default",
            found=value,
        )


async def stored_limits(pool: Pool, workspace_id: UUID) -> dict[str, int]:
    """Return the limits that differ from the defaults."""
    async with transaction(pool, workspace_id) as connection:
        row = await (await connection.execute(queries("access")["limits"])).fetchone()
    return {} if row is None else dict(row["limits"])


def in_force(stored: dict[str, int]) -> Limits:
    """Return the defaults with what is stored put over them."""
    return msgspec.convert(stored, Limits)
