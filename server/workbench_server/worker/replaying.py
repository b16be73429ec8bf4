"""The task `replay`: a replay that somebody asked for, played in a process that can be killed.

The worker's own credentials never come near an agent: the process gets a key of the one workspace,
lent for this one job and taken back with its end, and speaks to the server as everybody does. It is
started by the agent's registered interpreter and, unless calls may go outside, isolates the replay
once more. What it played is kept as an artifact before any of it is stored, so a job that is taken
up again either plays again or stores the same run: there is one run, and one result.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from workbench.errors import NotReplayable, RateLimited, Unavailable, UsageError, WorkbenchError
from workbench.store import connect
from workbench.store.aside import store_kept
from workbench_server.agents import Agent, named
from workbench_server.keys import fresh_key
from workbench_server.queries import queries
from workbench_server.worker.sweeping import seconds

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Mapping
    from uuid import UUID

    from workbench_server.worker.snapshot import Worker

_MOST_ATTEMPTS = 10
_BEAT_S = 1.0
_LONGEST_S = 3600.0
_STORING_S = 600.0  # what a key outlives the longest replay by
_LONGEST_LINE = 2**24
_OPTIONS = ("mode", "overrides", "on_miss", "budget", "collect", "order")
_CHILD = ("-P", "-m", "workbench.replay.ordered")
# Addresses, passwords and keys of the service stay with the worker.
_NOT_HANDED_ON = ("WORKBENCH_", "PG")
_PASSING = (Unavailable, RateLimited)
_log = logging.getLogger("workbench.worker")


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayer:
    """What replays are played with; ``url`` is where the server is found."""

    worker: Worker
    agents: Mapping[str, Agent]
    url: str | None
    longest_s: float = field(
        default_factory=lambda: seconds("WORKBENCH_REPLAY_TIMEOUT_S", _LONGEST_S)
    )


class _Cancelled(Exception):
    """Somebody asked for the job's end."""


class _Superseded(Exception):
    """Another worker has begun this job anew."""


@dataclass(slots=True, kw_only=True)
class _Job:
    """One attempt at a job."""

    workspace_id: UUID
    job_id: UUID
    run_id: UUID
    args: dict[str, Any]
    attempt: int
    cancel_requested: bool
    staged: str | None
    result: dict[str, Any] | None = None
    progress: dict[str, Any] = field(default_factory=dict)

    @property
    def is_live(self) -> bool:
        args = self.args
        return "live" in (args["mode"], args["on_miss"], *args["overrides"].values())


async def replay(replayer: Replayer, workspace_id: UUID, *, job_id: UUID) -> str:
    """Play one job, and say how it stands then.

    Raises
    ------
    Unavailable
        The server or its storage is away; the job waits to be taken up again.
    """
    job = await _claimed(replayer.worker, workspace_id, job_id)
    if job is None:
        return "over"
    try:
        await _carried_out(replayer, job)
    except _Superseded:
        return "superseded"
    except _Cancelled:
        return await _finish(replayer, job, status="cancelled")
    except _PASSING:
        await _say(replayer.worker, job, "put_back")
        raise
    except asyncio.CancelledError:  # the worker stops
        await _say(replayer.worker, job, "put_back")
        raise
    except WorkbenchError as error:
        return await _finish(replayer, job, status="failed", error=error.as_problem())
    except Exception as error:  # noqa: BLE001 - whoever asked must not wait for ever
        _log.exception("a replay broke off")
        said = {"code": "internal", "title": str(error) or type(error).__name__}
        return await _finish(replayer, job, status="failed", error=said)
    return await _finish(replayer, job, status="done")


async def _carried_out(replayer: Replayer, job: _Job) -> None:
    if job.cancel_requested and job.staged is None:
        raise _Cancelled
    if job.attempt > _MOST_ATTEMPTS:
        raise NotReplayable(
            "the replay was broken off again and again",
            where=f"replay {job.job_id}",
            found=f"{_MOST_ATTEMPTS} attempts",
            hint="see the logs of the workers: they were killed, or could not reach the server",
        )
    if job.is_live and job.attempt > 1 and job.staged is None:
        raise NotReplayable(
            "the worker ended in the middle of a live replay",
            where=f"replay {job.job_id}",
            hint="its calls were made outside and are not repeated; ask anew by another key",
        )
    if replayer.url is None:
        raise UsageError(
            "the worker does not know where its server is",
            where="WORKBENCH_URL",
            expected="the server's address in the worker's environment",
        )
    agent = named(replayer.agents, job.args["agent"])
    if job.is_live and not agent.live:  # the server's list may be another than the worker's
        raise UsageError(
            "this agent may not call outside",
            where="agent",
            found=job.args["agent"],
            hint="The operator registers it as live, for the server and for its workers.",
        )
    key = fresh_key()
    lent = key.facts() | {"lasts_s": replayer.longest_s + _STORING_S}
    await _say(replayer.worker, job, "lend_key", **lent)
    try:
        if job.staged is None:
            order = _order(replayer, job, agent, api_key=key.secret)
            await _stage(replayer, job, await _played(replayer, job, agent, order))
        await asyncio.to_thread(_store, replayer.url, key.secret, str(job.staged))
    finally:
        await _say(replayer.worker, job, "take_back_key")


def _store(url: str, api_key: str, staged: str) -> None:
    with connect(url, api_key) as store:
        store_kept(store, staged)


def _order(replayer: Replayer, job: _Job, agent: Agent, *, api_key: str) -> dict[str, Any]:
    options = {name: job.args[name] for name in _OPTIONS}
    return {
        "url": replayer.url,
        "api_key": api_key,
        "source": job.args["run_id"],
        "run_id": str(job.run_id),
        "agent": agent.target,
        "options": options | {"isolate": not job.is_live},
        "cwd": agent.cwd,
    }


# ---- the process


async def _played(
    replayer: Replayer, job: _Job, agent: Agent, order: dict[str, Any]
) -> dict[str, Any]:
    """Play in a process of its own, and return what came of it."""
    process = await asyncio.create_subprocess_exec(
        agent.python or sys.executable,
        *_CHILD,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=agent.cwd,
        env=_environment(agent),
        limit=_LONGEST_LINE,
        start_new_session=True,
    )
    words: deque[str] = deque(maxlen=20)
    listening = asyncio.ensure_future(_listen(process, words))
    try:
        answering = asyncio.ensure_future(_answer(process, job, order))
        said = await _watched(replayer, job, answering)
    finally:
        _kill(process)
        await asyncio.shield(process.wait())
        listening.cancel()
    if said is None:
        raise NotReplayable(
            "the replay ended before its time",
            where=f"replay {job.job_id}",
            found=words[-1] if words else f"exit status {process.returncode}",
            hint="the agent must work in a process of its own, by the interpreter it is "
            "registered with",
        )
    if "problem" in said:
        raise WorkbenchError.from_problem(said["problem"])
    return dict(said["done"])


def _environment(agent: Agent) -> dict[str, str]:
    """Return the worker's environment without what is the service's own."""
    # Another interpreter has other packages.
    without = (*_NOT_HANDED_ON, "PYTHON", "VIRTUAL_ENV") if agent.python else _NOT_HANDED_ON
    return {name: value for name, value in os.environ.items() if not name.startswith(without)}


async def _answer(process: Process, job: _Job, order: dict[str, Any]) -> dict[str, Any] | None:
    """Give the order, note how far it is, and return the last word; None where there is none."""
    if process.stdin is None or process.stdout is None:
        return None
    # The input stays open: its end would say that this worker is gone.
    process.stdin.write(msgspec.json.encode(order) + b"\n")
    with suppress(ConnectionError):
        await process.stdin.drain()
    async for line in process.stdout:
        said = msgspec.json.decode(line)
        if "progress" not in said:
            return dict(said)
        job.progress = said["progress"]
    return None


async def _listen(process: Process, words: deque[str]) -> None:
    """Keep the last lines that the process says of itself."""
    if process.stderr is None:
        return
    while piece := await process.stderr.read(2**16):
        words.extend(line for line in piece.decode("utf-8", "replace").splitlines() if line.strip())


async def _watched(
    replayer: Replayer, job: _Job, answering: asyncio.Future[dict[str, Any] | None]
) -> dict[str, Any] | None:
    """Wait for the answer, and say each second that the job goes on."""
    until = time.monotonic() + replayer.longest_s
    try:
        while not (await asyncio.wait({answering}, timeout=_BEAT_S))[0]:
            if (await _beat(replayer.worker, job))["cancel_requested"]:
                raise _Cancelled
            if time.monotonic() > until:
                raise NotReplayable(
                    "the replay took too long",
                    where=f"replay {job.job_id}",
                    expected=f"at most {replayer.longest_s:g} s",
                    hint="the operator sets WORKBENCH_REPLAY_TIMEOUT_S",
                )
        return answering.result()
    finally:
        answering.cancel()


def _kill(process: Process) -> None:
    """End the process, and whatever it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


# ---- the job's row


async def _claimed(worker: Worker, workspace_id: UUID, job_id: UUID) -> _Job | None:
    key: dict[str, Any] = {"workspace_id": workspace_id, "job_id": job_id}
    row = await asyncio.to_thread(_run, worker, "claim", key)
    return None if row is None else _Job(**key, **row)


async def _stage(replayer: Replayer, job: _Job, played: dict[str, Any]) -> None:
    job.staged, job.result = played["staged"], played["result"]
    facts = {**played, "result": _json(job.result), "progress": _json(job.progress)}
    if await _say(replayer.worker, job, "stage", **facts) is None:
        raise _Superseded


async def _beat(worker: Worker, job: _Job) -> dict[str, Any]:
    row = await _say(worker, job, "beat", progress=_json(job.progress))
    if row is None:
        raise _Superseded
    return row


async def _finish(
    replayer: Replayer, job: _Job, *, status: str, error: dict[str, Any] | None = None
) -> str:
    said = None if error is None else _json(error)
    await _say(replayer.worker, job, "finish", status=status, error=said)
    facts = {"run_id": str(job.run_id), "status": status, "attempt": job.attempt}
    _log.info("a replay is %s", status, extra={"facts": facts})
    return status


async def _say(worker: Worker, job: _Job, query: str, **facts: Any) -> dict[str, Any] | None:
    key = {"workspace_id": job.workspace_id, "job_id": job.job_id, "attempt": job.attempt}
    return await asyncio.to_thread(_run, worker, query, key | facts)


def _json(value: Any) -> str:
    return msgspec.json.encode(value, enc_hook=str).decode()


def _run(worker: Worker, query: str, facts: dict[str, Any]) -> dict[str, Any] | None:
    """Run one statement in the job's workspace, and return the row it answers with."""
    with worker.connect() as connection:
        enter = {"workspace_id": str(facts["workspace_id"])}
        connection.execute(queries("access")["enter"], enter)
        return connection.execute(queries("replaying")[query], facts).fetchone()
