"""A run's manifest: what it consists of, counted and hashed, without a look at its payloads."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

from workbench.hashing import merkle_root
from workbench_server.database import transaction
from workbench_server.queries import queries
from workbench_server.runs import run_not_found

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from uuid import UUID

    from workbench_server.database import Connection, Pool

MOST_ARTIFACTS = 10_000
_PART = 50_000
_SHORT = 2_000  # so many digests are hashed before anybody notices
_SHA256_BYTES = 32


async def manifest_of(pool: Pool, workspace_id: UUID, *, run_id: UUID) -> dict[str, Any]:
    """Return the manifest of a run as its row stands now."""
    key: dict[str, Any] = {"workspace_id": workspace_id, "run_id": run_id}
    async with transaction(pool, workspace_id) as connection:
        head = await (await connection.execute(queries("manifests")["head"], key)).fetchone()
        if head is None:
            raise await run_not_found(connection, workspace_id, run_id=str(run_id))
        key |= {"events": head["events"], "limit": MOST_ARTIFACTS}
        counted = await (await connection.execute(queries("manifests")["counts"], key)).fetchall()
        sql = queries("artifacts")
        listed = b"\n".join((sql["rows"], sql["run_id"], sql["by_seq"]))
        artifacts = await (await connection.execute(listed, key)).fetchall()
        types = await (await connection.execute(sql["entity_types"], key)).fetchall()
        digests = await _digests(connection, key)
    hash_all = head["events"] > _SHORT
    root = await asyncio.to_thread(log_root, digests) if hash_all else log_root(digests)
    return {
        "run_id": head["run_id"],
        "status": head["status"],
        "health": head["health"],
        "events": head["events"],
        "event_types": _summed(counted, "event_type"),
        "calls": _summed([c for c in counted if c["event_type"] == "call_started"], "kind"),
        "writers": head["writers"],
        "artifacts": artifacts,
        "artifact_count": sum(row["count"] for row in types),
        "entity_types": [row | {"bytes": int(row["bytes"])} for row in types],
        "hashes": {
            "log_root": root,
            "header": head["header_hash"],
            "edits": head["edits_hash"],
        },
    }


def _summed(counted: list[dict[str, Any]], name: str) -> dict[str, int]:
    sums: Counter[str] = Counter()
    for row in counted:
        sums[row[name] or "none"] += row["count"]
    return dict(sorted(sums.items()))


async def _digests(connection: Connection, key: Mapping[str, Any]) -> dict[str, bytearray]:
    """Return each writer's digests one after the other: 32 bytes an event, whatever its size."""
    digests: dict[str, bytearray] = defaultdict(bytearray)
    for after in range(0, key["events"], _PART):
        part = {**key, "after": after, "upto": min(after + _PART, key["events"])}
        rows = await connection.execute(queries("manifests")["digests"], part, binary=True)
        for row in await rows.fetchall():
            digests[row["writer"]] += row["digests"]
    return digests


def log_root(digests: Mapping[str, bytes | bytearray]) -> str:
    """Return the root over a log's digests, by (writer, writer_seq): `run.digest`. Pure."""
    return merkle_root(_leaves(digests))


def _leaves(digests: Mapping[str, bytes | bytearray]) -> Iterator[bytes]:
    for writer in sorted(digests):
        joined = memoryview(digests[writer])
        for at in range(0, len(joined), _SHA256_BYTES):
            yield bytes(joined[at : at + _SHA256_BYTES])
