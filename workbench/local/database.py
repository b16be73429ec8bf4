"""The few things the supervisor asks of the database, as its owner."""

from __future__ import annotations

import hashlib
import secrets
import time
from typing import TYPE_CHECKING

from workbench.errors import StackFailed
from workbench.local.home import read_json, write_json
from workbench.settings import workspace_name

if TYPE_CHECKING:
    from workbench.local.home import Home

_PATIENCE_S = 20.0
_PENDING = """
select exists (
  select from jobs.procrastinate_jobs where status in ('todo', 'doing')
)
"""


def ensure_database(url: str, *, name: str) -> None:
    """Make the database where it is missing."""
    import psycopg
    from psycopg import sql

    try:
        with psycopg.connect(url, autocommit=True) as connection:
            found = connection.execute("select from pg_database where datname = %s", [name])
            if found.fetchone() is None:
                connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
    except psycopg.Error as error:
        raise StackFailed("the database refused its owner", found=str(error).strip()) from error


def workspace_key(url: str, home: Home, *, name: str) -> str:
    """Return the workspace's API key; workspace and key are made where they are missing."""
    known = read_json(home.keys)
    key = known.get(workspace_name(name))
    # Also with a key we know: this may be a new database, or the key was revoked.
    if key is None or not _made_workspace(url, name=name, key=str(key)):
        # The form of the server's own keys, by which scanners and log filters find them.
        key_id = secrets.token_hex(6)
        key = f"wbk_{key_id}_{secrets.token_hex(32)}"
        _made_workspace(url, name=name, key=key, key_id=key_id)
        write_json(home.keys, {**known, name: key})
    return str(key)


def _made_workspace(url: str, *, name: str, key: str, key_id: str | None = None) -> bool:
    """Make the workspace and let the key in; a key that was revoked or expired stays out."""
    import psycopg

    facts = [name, hashlib.sha256(key.encode()).digest(), key_id]
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            with psycopg.connect(url) as connection:
                connection.execute(
                    "select create_workspace(%s, %s, 'admin', %s, 'local stack')", facts
                )
        except psycopg.errors.CheckViolation:
            return False
        except psycopg.OperationalError as error:
            # The database may be coming back from a crash just now.
            if time.monotonic() > deadline:
                raise StackFailed(
                    "the database cannot be reached", found=str(error).strip()
                ) from error
            time.sleep(0.1)
        else:
            return True


def has_pending_jobs(url: str) -> bool:
    """Say whether a job waits or runs; a database that does not answer counts as busy."""
    import psycopg

    try:
        with psycopg.connect(url, connect_timeout=5) as connection:
            row = connection.execute(_PENDING).fetchone()
    except psycopg.Error:
        return True
    return bool(row and row[0])
