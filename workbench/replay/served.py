"""Replays by a server's worker, and a result as it travels from there to whoever asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import polars as pl

from workbench.capture import values
from workbench.errors import UsageError
from workbench.replay.divergence import Divergence
from workbench.replay.result import MATCHES, ReplayResult
from workbench.store import RemoteStore

if TYPE_CHECKING:
    from workbench.store.run import Run


def replay_there(
    run: Run, agent: str | None = None, *, key: str | None = None, **options: Any
) -> ReplayResult:
    """Let a worker of the run's server replay it, and wait for what comes of it.

    Parameters
    ----------
    run
        The recorded run, of a store on a server.
    agent
        The name of a registered agent; default the one that the run names.
    key
        A name of your own, by which the same call finds the same replay again.
    options
        ``mode overrides on_miss budget collect order`` as `workbench.replay` takes them, and
        ``progress``, called with how many calls are done of how many.

    Raises
    ------
    UsageError
        The run's store is no server, or the agent is registered under no such name.
    WorkbenchError
        The replay could not begin, or was cancelled.
    """
    store = run.store
    if not isinstance(store, RemoteStore):
        raise UsageError(
            "only a server has workers that replay",
            where=store.address,
            hint='replay it here: without on="server"',
        )
    progress = options.pop("progress", None)
    asked = store.replays.submit(run, agent=agent, key=key, **options)
    row = store.replays.wait(asked["job_id"], progress=progress)
    return restored(store.get_artifact(row["result_artifact"]), store.run(row["run_id"]))


def refuse(agent: Any, **given: Any) -> None:
    """Refuse what cannot be sent to a server.

    Raises
    ------
    UsageError
        An agent that is given and not named, or an option that works here alone.
    """
    if agent is not None and not isinstance(agent, str):
        raise UsageError(
            "a server knows agents by name",
            where="agent",
            expected="a registered name",
            found=repr(agent)[:80],
            hint="store.replays.agents() lists them",
        )
    for name, value in given.items():
        if value is not None:
            raise UsageError(
                f"{name} cannot be sent to a server", hint='leave it out, or on="server"'
            )


def told(result: ReplayResult) -> bytes:
    """Return all of a result but its run, as JSON."""
    said = {
        "identical": result.identical,
        "divergences": [found.as_dict() for found in result.divergences],
        "matches": result.matches.to_dicts(),
        "certificate": result.certificate,
        "output": values.freeze(result.output)[0],
        "lost": result.lost,
    }
    return msgspec.json.encode(said, enc_hook=str)


def summary(result: ReplayResult) -> dict[str, Any]:
    """Return what a list of replays shows of a result."""
    return {
        "identical": result.identical,
        "status": result.run.status,
        "divergences": len(result.divergences),
        "calls": result.certificate["calls"],
        "match_levels": result.certificate["match_levels"],
    }


def restored(raw: bytes, run: Run) -> ReplayResult:
    """Return the result that was told, with the run that was made."""
    said = msgspec.json.decode(raw)
    return ReplayResult(
        run=run,
        identical=said["identical"],
        divergences=[Divergence.from_dict(found) for found in said["divergences"]],
        matches=pl.DataFrame(said["matches"], schema=MATCHES),
        certificate=said["certificate"],
        output=values.thaw(said["output"]),
        lost=said.get("lost") or [],
    )
