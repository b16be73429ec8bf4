"""Make a workspace and give it a key, as the database's owner."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import psycopg

from workbench.errors import Conflict, Unavailable, UsageError
from workbench_server.queries import queries

if TYPE_CHECKING:
    from uuid import UUID

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
    facts = {"name": name, "key_hash": key_hash(key), "role": role}
    try:
        with psycopg.connect(database_url) as connection:
            row = connection.execute(queries("access")["create_workspace"], facts).fetchone()
    except psycopg.errors.UniqueViolation as error:
        raise Conflict("the key belongs to another workspace", where=name) from error
    except psycopg.OperationalError as error:
        raise Unavailable("the database cannot be reached", found=str(error).strip()) from error
    if row is None:
        raise Unavailable("the database made no workspace", where=name)
    made: UUID = row[0]
    return made
