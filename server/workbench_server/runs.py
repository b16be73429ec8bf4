"""Runs in the database: made once, found by id, renamed and labelled."""

from __future__ import annotations

import hashlib
import os
import time
from typing import Any, TypeVar
from uuid import UUID

import msgspec
import psycopg

from workbench.errors import Conflict, InvalidEvent, RunNotFound
from workbench.hashing import dumps
from workbench.schema import RunHeader, RunPatch
from workbench_server.database import Connection, Pool, transaction
from workbench_server.headers import MOST_BYTES, check_header, check_labels
from workbench_server.limits import check_text
from workbench_server.misfits import sides_of
from workbench_server.queries import queries

_OTHERS = {
    "parent_run_id": "a run cannot be its own parent",
    "supersedes": "a run cannot supersede itself",
}
_Form = TypeVar("_Form")


def parse_header(data: bytes) -> RunHeader:
    """Read a run's header, or say what does not fit."""
    return parse_form(data, RunHeader, "the run's header is malformed")


def parse_patch(data: bytes) -> RunPatch:
    """Read a change of a run, or say what does not fit."""
    return parse_form(data, RunPatch, "the change of the run is malformed")


def parse_form(data: bytes, kind: type[_Form], what: str) -> _Form:
    """Read a body as a struct, or say what does not fit."""
    if not data.strip():
        raise InvalidEvent(what, expected="a JSON object", found="an empty body")
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidEvent(what, **sides_of(error, kind)) from error


def run_uuid(text: str) -> UUID:
    """Return a run id; anything else names no run."""
    try:
        return UUID(text)
    except ValueError as error:
        raise RunNotFound(
            f"no run {text[:80]!r}", hint="A run id is a uuid; look sources up in the listing."
        ) from error


def new_run_id() -> UUID:
    """Return a UUIDv7: ids of later runs are greater."""
    number = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    number = number & ~(0xF << 76) | 0x7 << 76
    return UUID(int=number & ~(0x3 << 62) | 0x2 << 62)


async def create_run(pool: Pool, workspace_id: UUID, *, header: RunHeader) -> tuple[UUID, bool]:
    """Make the run, or find the one that was made of the same header."""
    facts = facts_of(header, workspace_id)
    try:
        async with transaction(pool, workspace_id) as connection:
            created = await create_within(connection, facts)
    except psycopg.errors.UniqueViolation as error:
        raise another_has_the_source(header.source) from error
    return facts["run_id"], created


async def create_within(connection: Connection, facts: dict[str, Any]) -> bool:
    """Make the run in a transaction that is open already; say whether it is new."""
    sql = queries("runs")
    # Superseding comes first, so that the newer run may take the older one's source.
    if facts["supersedes"] is not None and not await _hash_of(connection, facts):
        await connection.execute(sql["supersede"], facts)
    made = await (await connection.execute(sql["create"], facts)).fetchone()
    if made is None and await _hash_of(connection, facts) != facts["header_hash"]:
        raise Conflict(
            "a run of this id exists already and differs",
            where=f"run {facts['run_id']}",
            hint="Take another run_id, or change name and labels with PATCH.",
            run_id=str(facts["run_id"]),
        )
    return made is not None


def another_has_the_source(source: str | None) -> Conflict:
    """Return the error for a source that a run has already."""
    return Conflict(
        "another run has this source",
        where=source,
        hint="Say which run it supersedes.",
        source=source,
    )


def facts_of(header: RunHeader, workspace_id: UUID) -> dict[str, Any]:
    """Return the columns of the run that a header describes, or say what does not fit."""
    check_header(header)
    facts = msgspec.structs.asdict(header)
    ids = {name: _id(facts[name], name) for name in _OTHERS}
    run_id = _id(header.run_id, "run_id") or new_run_id()
    for name, what in _OTHERS.items():
        if ids[name] == run_id:
            raise InvalidEvent(what, where=name, expected="another run", found=str(run_id))
    labels = {name: value for name, value in header.labels.items() if value is not None}
    said = msgspec.structs.replace(
        header, run_id=None, labels=labels, **{name: _text(value) for name, value in ids.items()}
    )
    return (
        facts
        | ids
        | {
            "workspace_id": workspace_id,
            "run_id": run_id,
            "labels": _canonical(labels).decode(),
            "header_hash": hashlib.sha256(_canonical(msgspec.to_builtins(said))).digest(),
        }
    )


def _canonical(value: Any) -> bytes:
    """Return canonical JSON; an integer beyond 64 bits could be stored, but never read again."""
    try:
        return dumps(value)
    except TypeError as error:
        raise InvalidEvent("a number is out of range", found=str(error)) from error


def _text(value: UUID | None) -> str | None:
    return None if value is None else str(value)


def _id(text: str | None, name: str) -> UUID | None:
    if text is None:
        return None
    try:
        return UUID(text)
    except ValueError as error:
        raise InvalidEvent(f"{name} is no uuid", where=name, found=text[:80]) from error


async def _hash_of(connection: Connection, facts: dict[str, Any]) -> bytes | None:
    rows = await connection.execute(queries("runs")["header_hash"], facts)
    row = await rows.fetchone()
    return None if row is None else bytes(row["header_hash"])


async def get_run(pool: Pool, workspace_id: UUID, *, run_id: str) -> dict[str, Any]:
    """Return a run's row, or name the nearest ids."""
    key = {"workspace_id": workspace_id, "run_id": run_uuid(run_id)}
    async with transaction(pool, workspace_id) as connection:
        row = await (await connection.execute(_one(), key)).fetchone()
        if row is None:
            raise await run_not_found(connection, workspace_id, run_id=run_id)
    return row


def _one() -> bytes:
    """Return the query of one row, with every public column."""
    sql = queries("listing")
    return sql["rows"] + b"\n" + sql["run_id"]


async def run_not_found(connection: Connection, workspace_id: UUID, *, run_id: str) -> RunNotFound:
    """Return the error that names the nearest ids."""
    rows = await connection.execute(queries("runs")["recent_ids"], {"workspace_id": workspace_id})
    return RunNotFound.among("run", run_id, [row["run_id"] async for row in rows])


async def patch_run(pool: Pool, workspace_id: UUID, *, run_id: UUID, patch: RunPatch) -> None:
    """Change name and labels."""
    has_name, has_labels = patch.name is not msgspec.UNSET, patch.labels is not msgspec.UNSET
    if isinstance(patch.name, str):
        check_text(patch.name, where="name", most=MOST_BYTES)
    if isinstance(patch.labels, dict):
        check_labels(patch.labels)
    parameters = {
        "workspace_id": workspace_id,
        "run_id": run_id,
        "set_name": has_name,
        "name": patch.name if has_name else None,
        "labels": _canonical(patch.labels if has_labels else {}).decode(),
    }
    async with transaction(pool, workspace_id) as connection:
        row = await (await connection.execute(queries("runs")["patch"], parameters)).fetchone()
        if row is None:
            raise await run_not_found(connection, workspace_id, run_id=str(run_id))
