"""The few things the supervisor asks of the database, as its owner."""

from __future__ import annotations

import hashlib
import secrets
import time
from typing import TYPE_CHECKING

from workbench.errors import StackFailed
from workbench.local.home import read_json, write_json

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
    key = str(known.get(name) or f"wb_{secrets.token_urlsafe(32)}")
    # Also with a key we know: this may be a new database.
    _make_workspace(url, name=name, key=key)
    if name not in known:
        write_json(home.keys, {**known, name: key})
    return key


def _make_workspace(url: str, *, name: str, key: str) -> None:
    import psycopg

    digest = hashlib.sha256(key.encode()).digest()
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            with psycopg.connect(url) as connection:
                connection.execute("select create_workspace(%s, %s, 'admin')", [name, digest])
        except psycopg.OperationalError as error:
            # The database may be coming back from a crash just now.
            if time.monotonic() > deadline:
                raise StackFailed(
                    "the database cannot be reached", found=str(error).strip()
                ) from error
            time.sleep(0.1)
        else:
            return


def has_pending_jobs(url: str) -> bool:
    """Say whether a job waits or runs; a database that does not answer counts as busy."""
    import psycopg

    try:
        with psycopg.connect(url, connect_timeout=5) as connection:
            row = connection.execute(_PENDING).fetchone()
    except psycopg.Error:
        return True
    return bool(row and row[0])
