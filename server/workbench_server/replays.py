"""Replays that are asked for: one for each key, looked at, listed, cancelled. Workers play them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID, uuid4, uuid5

import msgspec
from msgspec import Struct

from workbench.errors import Conflict, InvalidEvent, NotFound, UsageError
from workbench.hashing import dumps
from workbench.replay.policy import Policy
from workbench.schema import Mode  # noqa: TC001 - msgspec reads the annotation
from workbench_server import agents as registry
from workbench_server import asked
from workbench_server.cursors import ID, TIME
from workbench_server.database import transaction
from workbench_server.limits import check_text
from workbench_server.ordering import Key, Listing, Page, order_of
from workbench_server.queries import queries
from workbench_server.runs import run_not_found, run_uuid

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workbench_server.agents import Agent
    from workbench_server.database import Connection, Pool

STATUSES = ("queued", "running", "done", "failed", "cancelled")
_OVERRIDES = ("kind:", "tool:", "lane:")
_MOST_OVERRIDES = 100
_LONGEST = 200

_LISTING = Listing(
    name="replays",
    keys={"created_at": Key(kind=TIME, of=itemgetter("created_at"), nulls=False)},
    usual="created_at",
    tie="job_id",
    tie_kind=ID,
)


class Budget(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the live calls of a replay may come to."""

    calls: int | None = None
    usd: float | None = None
    seconds: float | None = None


class Asking(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A replay that is asked for; ``agent`` is a registered name, by default the run's own agent.

    The same ``key`` with the same body finds the same replay; without one each is a new one. It is
    isolated, so nothing is called outside, unless ``live`` stands in ``mode``, ``on_miss`` or
    ``overrides``: then the agent has to be registered as live, and the replay is guarded.
    """

    run_id: str
    agent: str | None = None
    mode: Mode = "exact"
    overrides: dict[str, Mode] = {}
    on_miss: Literal["fail", "error", "simulate", "live"] = "fail"
    budget: Budget | None = None
    collect: bool = False
    order: Literal["declared", "completed"] = "declared"
    key: str | None = None

    @property
    def is_live(self) -> bool:
        """Whether anything of it may call outside."""
        return "live" in (self.mode, self.on_miss, *self.overrides.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a listing is narrowed to; ``run_id`` is that of the replayed run."""

    run_id: str | None = None
    status: list[str] | None = None

    def said(self) -> dict[str, Any]:
        """Return the filters that were given, or refuse them."""
        said: dict[str, Any] = {}
        if self.run_id is not None:
            said["run_id"] = str(asked.uuid(self.run_id, where="run_id"))
        if self.status is not None:
            known = {asked.one_of(one, STATUSES, where="status") for one in self.status}
            said["status"] = sorted(known)
        return said


async def ask(
    pool: Pool, workspace_id: UUID, *, wanted: Asking, agents: Mapping[str, Agent]
) -> tuple[dict[str, Any], bool]:
    """Ask for a replay, or find the one of this key; say whether it is new.

    Whose key is known is not looked at again: what was asked then may be registered no longer.
    """
    _check(wanted)
    source = run_uuid(wanted.run_id)
    job_key = f"replay:{wanted.key if wanted.key is not None else uuid4()}"
    key: dict[str, Any] = {"workspace_id": workspace_id, "job_key": job_key}
    said = {**msgspec.to_builtins(wanted), "run_id": str(source)}
    hashed = hashlib.sha256(dumps(said)).digest()
    sql = queries("replays")
    async with transaction(pool, workspace_id) as connection:
        before = await (await connection.execute(sql["asked"], key)).fetchone()
        if before is None:
            agent = await _agent_of(connection, workspace_id, wanted=wanted, agents=agents)
            # Of the same key they are the same, also to a request that comes at the same time.
            job_id = uuid5(workspace_id, job_key)
            facts = {
                "job_id": job_id,
                "run_id": uuid5(job_id, "run"),
                "args": dumps({**said, "agent": agent}).decode(),
                "args_hash": hashed,
            }
            made = await (await connection.execute(sql["ask"], key | facts)).fetchone()
            if made is None:
                before = await (await connection.execute(sql["asked"], key)).fetchone()
        if before is not None and bytes(before["args_hash"]) != hashed:
            raise Conflict(
                "something else was asked by this key before",
                where="key",
                found=str(wanted.key),
                hint="Take another key for another replay; GET /v1/replays shows what was asked.",
            )
        rows = await connection.execute(sql["rows"] + b"\n" + sql["job_key"], key)
        row = await rows.fetchone()
    return row or {}, before is None


def _check(wanted: Asking) -> None:
    if wanted.key is not None:
        check_text(wanted.key, where="key", most=_LONGEST)
        if not wanted.key:
            raise InvalidEvent("the key is empty", where="key", expected="1 to 200 bytes")
    if len(wanted.overrides) > _MOST_OVERRIDES:
        raise UsageError(
            "there are too many overrides",
            where="overrides",
            expected=f"at most {_MOST_OVERRIDES}",
            found=len(wanted.overrides),
        )
    for name in wanted.overrides:
        check_text(name, where="overrides", most=_LONGEST)
        if not name.startswith(_OVERRIDES) or name in _OVERRIDES:
            raise UsageError(
                "an override is for a kind, a tool or a lane",
                where="overrides",
                expected="kind:model, tool:NAME or lane:root/x",
                found=name,
            )
    Policy.of(
        wanted.mode,
        on_miss=wanted.on_miss,
        overrides=wanted.overrides,
        budget=msgspec.to_builtins(wanted.budget),
    )


async def _agent_of(
    connection: Connection, workspace_id: UUID, *, wanted: Asking, agents: Mapping[str, Agent]
) -> str:
    """Return the registered name of the agent that is to be replayed."""
    key = {"workspace_id": workspace_id, "run_id": run_uuid(wanted.run_id)}
    row = await (await connection.execute(queries("replays")["is_there"], key)).fetchone()
    if row is None:
        raise await run_not_found(connection, workspace_id, run_id=wanted.run_id)
    name = wanted.agent
    if name is None:
        name = registry.of_target(agents, row["agent"])
    agent = registry.named(agents, name)
    if wanted.is_live and not agent.live:
        able = sorted(known for known, one in agents.items() if one.live)
        raise UsageError(
            "this agent may not call outside",
            where="agent",
            expected=", ".join(able) or "an agent registered with live: true; there is none",
            found=name,
            hint="Replay it exact, cached or simulated, or let the operator register it as live.",
        )
    return name


async def list_replays(
    pool: Pool, workspace_id: UUID, *, wanted: Wanted, page: Page
) -> dict[str, Any]:
    """Return a page of replays, newest first, and the cursor of the next page."""
    sql, said = queries("replays"), wanted.said()
    parameters = said | {"workspace_id": workspace_id}
    order = order_of(_LISTING, page, said=said)
    parts = [sql["rows"], *(sql[name] for name in said), *order.pieces(page, into=parameters)]
    async with transaction(pool, workspace_id) as connection:
        rows = await (await connection.execute(b"\n".join(parts), parameters)).fetchall()
    shown, cursor = order.cut(rows, page)
    return {"replays": shown, "next_cursor": cursor}


async def get_replay(pool: Pool, workspace_id: UUID, *, job_id: str) -> dict[str, Any]:
    """Return one replay, or name the nearest ids."""
    async with transaction(pool, workspace_id) as connection:
        return await _one(connection, workspace_id, job_id=job_id)


async def cancel_replay(pool: Pool, workspace_id: UUID, *, job_id: str) -> dict[str, Any]:
    """Ask for the end of a replay; once more changes nothing."""
    async with transaction(pool, workspace_id) as connection:
        before = await _one(connection, workspace_id, job_id=job_id)
        key = {"workspace_id": workspace_id, "job_id": before["job_id"]}
        done = await (await connection.execute(queries("replays")["cancel"], key)).fetchone()
        row = await _one(connection, workspace_id, job_id=job_id)
    if done is None and row["status"] != "cancelled":
        raise Conflict(
            "the replay is over",
            where=f"replay {row['job_id']}",
            expected="queued or running",
            found=row["status"],
            hint="There is nothing to cancel; its run can be labelled or left alone.",
        )
    return row


async def _one(connection: Connection, workspace_id: UUID, *, job_id: str) -> dict[str, Any]:
    sql, key = queries("replays"), {"workspace_id": workspace_id}
    try:
        named = {**key, "job_id": UUID(job_id)}
    except ValueError:
        row = None
    else:
        rows = await connection.execute(sql["rows"] + b"\n" + sql["job_id"], named)
        row = await rows.fetchone()
    if row is None:
        recent = await connection.execute(sql["recent_ids"], key)
        known = [one["job_id"] async for one in recent]
        hint = "GET /v1/replays lists the replays of this key's workspace."
        raise NotFound.among("replay", job_id[:80], known, hint=hint)
    return row
