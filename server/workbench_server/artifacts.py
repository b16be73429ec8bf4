"""What runs made, found by its type, its tags, its run or its bytes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from workbench.errors import UsageError
from workbench.hashing import is_sha256
from workbench_server import asked
from workbench_server.cursors import COUNT, ID, TIME, mark_of, read_cursor, write_cursor
from workbench_server.database import transaction
from workbench_server.queries import queries

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from workbench_server.database import Pool


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a listing of artifacts is narrowed to; several tags have to be there all."""

    run_id: str | None = None
    sha256: str | None = None
    entity_type: str | None = None
    media_type: str | None = None
    tag: Sequence[str] | None = None

    def said(self) -> dict[str, Any]:
        """Return the filters that were given, each as its column's type, or refuse them."""
        given = {name: value for name, value in asdict(self).items() if value is not None}
        return {name: _read(name, value) for name, value in given.items()}


def _read(name: str, value: Any) -> Any:
    match name:
        case "run_id":
            return asked.uuid(value, where=name)
        case "tag":
            return sorted(asked.text(tag, where=name) for tag in value)
        case "sha256":
            if not is_sha256(value):
                expected = "64 lower-case hex digits"
                raise UsageError("sha256 is none", where=name, expected=expected, found=value[:80])
            return bytes.fromhex(value)
        case _:
            return asked.text(value, where=name)


async def list_artifacts(
    pool: Pool, workspace_id: UUID, *, wanted: Wanted, limit: int, cursor: str | None
) -> dict[str, Any]:
    """Return a page of artifacts, newest first, and the cursor of the next page."""
    sql, said = queries("artifacts"), wanted.said()
    mark = mark_of("artifacts", said)
    parameters = said | {"workspace_id": workspace_id, "limit": limit + 1}
    parts = [sql["rows"], *(sql[name] for name in said)]
    if cursor is not None:
        after, run, seq = read_cursor(cursor, mark, kinds=(TIME, ID, COUNT))
        parameters |= {"after": after, "after_run": run, "after_seq": seq}
        parts.append(sql["after"])
    parts.append(sql["order"])
    async with transaction(pool, workspace_id) as connection:
        rows = await (await connection.execute(b"\n".join(parts), parameters)).fetchall()
    shown, following = rows[:limit], None
    if len(rows) > limit:
        last = shown[-1]
        following = write_cursor(mark, [last["created_at"], last["run_id"], last["seq"]])
    return {"artifacts": shown, "next_cursor": following}
