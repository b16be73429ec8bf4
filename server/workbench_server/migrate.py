"""Roles, then procrastinate's own schema, then our numbered, forward-only migrations."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

import psycopg
from procrastinate.schema import SchemaManager
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from workbench.errors import Conflict, Unavailable
from workbench.hashing import sha256_hex
from workbench_server.configuration import ROLES, Configuration
from workbench_server.versions import own_migrations

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

_LOCK = 0x776F726B  # one migration at a time, by advisory lock


def migrate(configuration: Configuration, *, until: str | None = None) -> list[str]:
    """Bring the database up to date as its owner; return the names of what was applied.

    With `until`, migrations whose names come after it are left out.
    """
    with _connect(configuration.need("database_url")) as connection:
        connection.execute("select pg_advisory_lock(%s)", [_LOCK])
        _make_roles(connection, configuration)
        _make_schemas(connection)
        return _apply_queue(connection) + _apply_own(connection, until)


def _connect(url: str) -> psycopg.Connection:
    try:
        return psycopg.connect(url, autocommit=True)
    except psycopg.OperationalError as error:
        raise Unavailable("the database cannot be reached", found=str(error).strip()) from error


def _make_roles(connection: psycopg.Connection, configuration: Configuration) -> None:
    urls = (
        configuration.app_database_url,
        configuration.worker_database_url,
        configuration.bench_database_url,
    )
    for role, url in zip(ROLES, urls, strict=True):
        _make_role(connection, role)
        password = conninfo_to_dict(url).get("password") if url else None
        if password is not None:
            _set_password(connection, role, str(password))


def _make_role(connection: psycopg.Connection, role: str) -> None:
    wants = sql.SQL(" bypassrls") if role == "workbench_bench" else sql.SQL("")
    found = connection.execute("select from pg_roles where rolname = %s", [role]).fetchone()
    if found is not None:
        return
    try:
        connection.execute(
            sql.SQL("create role {} login nosuperuser{}").format(sql.Identifier(role), wants)
        )
    except psycopg.errors.InsufficientPrivilege:
        # A managed database's owner may not grant BYPASSRLS; only the baselines need it.
        connection.execute(sql.SQL("create role {} nologin").format(sql.Identifier(role)))


def _set_password(connection: psycopg.Connection, role: str, password: str) -> None:
    # Only the verifier crosses the wire, so no statement log ever holds the password.
    verifier = connection.pgconn.encrypt_password(
        password.encode(), role.encode(), b"scram-sha-256"
    ).decode()
    connection.execute(
        sql.SQL("alter role {} password {}").format(sql.Identifier(role), sql.Literal(verifier))
    )


def _make_schemas(connection: psycopg.Connection) -> None:
    connection.execute("create schema if not exists jobs")
    connection.execute("create schema if not exists lake")
    connection.execute(
        "create table if not exists migrations ("
        " name text primary key, sha256 text not null,"
        " applied_at timestamptz not null default now()"
        ")"
    )


def _applied(connection: psycopg.Connection) -> dict[str, str]:
    return dict(connection.execute("select name, sha256 from migrations").fetchall())


def _record(connection: psycopg.Connection, name: str, text: str) -> None:
    connection.execute(
        "insert into migrations (name, sha256) values (%s, %s)", [name, sha256_hex(text.encode())]
    )


def _apply_queue(connection: psycopg.Connection) -> list[str]:
    known = _applied(connection)
    names = {
        f"queue/{name}": text
        for name, text in _sql_files(resources.files("procrastinate") / "sql" / "migrations")
    }
    missing = {name: text for name, text in names.items() if name not in known}
    if not missing:
        return []
    if len(missing) == len(names):
        # A fresh database takes the queue's whole schema at once: it equals all its migrations.
        _apply_to_queue(connection, SchemaManager.get_schema(), missing)
        return ["queue"]
    for name, text in missing.items():
        _apply_to_queue(connection, text, {name: text})
    return ["queue"]


def _apply_to_queue(connection: psycopg.Connection, text: str, done: dict[str, str]) -> None:
    with connection.transaction():
        connection.execute("set local search_path = jobs")
        connection.execute(text.encode())
        connection.execute("set local search_path to default")
        for name, recorded in done.items():
            _record(connection, name, recorded)


def _sql_files(folder: Traversable) -> list[tuple[str, str]]:
    files = [file for file in folder.iterdir() if file.name.endswith(".sql")]
    return sorted((file.name, file.read_text("utf-8")) for file in files)


def _apply_own(connection: psycopg.Connection, until: str | None) -> list[str]:
    known = _applied(connection)
    done = []
    for name, text in own_migrations().items():
        if name in known:
            _refuse_changed(name, text, known[name])
            continue
        if until is not None and name > until:
            break
        with connection.transaction():
            connection.execute(text.encode())
            _record(connection, name, text)
        done.append(name)
    return done


def _refuse_changed(name: str, text: str, applied: str) -> None:
    if sha256_hex(text.encode()) != applied:
        raise Conflict(
            "an applied migration was changed",
            where=name,
            expected=applied,
            found=sha256_hex(text.encode()),
            hint="Migrations are forward-only: put the change into a new file.",
        )
