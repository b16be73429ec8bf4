"""The verb: run an agent's real code again with its recording in place of the world."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from workbench import hashing
from workbench import recording as recordings
from workbench.capture import agents, code
from workbench.capture.journal import Journal
from workbench.errors import UsageError
from workbench.replay import isolation, keeping, redacting
from workbench.replay.certificate import certificate
from workbench.replay.playing import play
from workbench.replay.result import ReplayResult, matches
from workbench.replay.session import ReplaySession
from workbench.replay.targets import target_of
from workbench.schema import RunHeader

if TYPE_CHECKING:
    from workbench.recording import Recording
    from workbench.replay.playing import Played
    from workbench.replay.session import ReplayMode
    from workbench.replay.targets import Target
    from workbench.store.protocol import Store
    from workbench.store.run import Run


def replay(
    run: Run,
    agent: Any = None,
    *,
    mode: ReplayMode = "exact",
    into: Store | None = None,
    isolate: bool = False,
    collect: bool = False,
    redact: Any = None,
) -> ReplayResult:
    """Run an agent again with every call answered from a recorded run.

    Nothing is called outside. The recorded input takes the place of a new one, sleeps are skipped,
    graphs get a fresh in-memory saver, and the recording is never changed.

    Parameters
    ----------
    run
        The recorded run.
    agent
        The callable or Runnable, or ``module:attribute``; default the one the run names.
    mode
        ``exact``: position and signature of each call must be the same, and the agent is stopped
        at the first difference. ``cached``: a recorded answer to the same request is taken also
        from another place of the run.
    into
        The store of the new run; default the run's own. For a read-only store the new run is
        written to a temporary folder, whose path is printed.
    isolate
        Replay in a child process without any network.
    collect
        Go on after a difference where an answer can be found, and report all of them.
    redact
        The function that the run was recorded with, if there was one; the rules of that time are
        in the recording.

    Returns
    -------
    ReplayResult
        A difference is a value: see its ``divergences``.

    Raises
    ------
    NotReplayable
        The run has no recorded root, or cannot be isolated here.
    RecordingIncomplete
        Exact was asked, and the recording lacks something.
    UsageError
        No such mode, or no agent.

    Examples
    --------
    >>> store = wb.open("datasets")
    >>> run = store.run(store.runs()["run_id"][0])
    >>> wb.replay(run, "workbench.examples.support_desk:agent").identical
    True
    """
    if mode not in ("exact", "cached"):
        raise UsageError("no such replay mode", expected=["exact", "cached"], found=mode)
    source = read(run)
    if mode == "exact":
        source.require_complete()
    found = agent_of(run, source, agent)
    wanted = redacting.wanted_for(source, run.store, redact)
    now = code.fingerprint(found.target, entry_point=found.entry_point)
    header = RunHeader(
        name=run.name,
        agent=found.entry_point,
        labels={"replay_of": run.run_id, "code": code_digest(now)},
        mode=mode,
        parent_run_id=run.run_id if into is None or into is run.store else None,
    )
    if isolate:
        isolation.require(found)
        job = isolation.Job(
            agent=str(found.entry_point),
            session="workbench.replay.session:from_options",
            options={"mode": mode, "collect": collect, "redact": redacting.sent(wanted)},
        )
        away = isolation.play(job, run)
        target = target_of(run, header, into=into)
        played = isolation.stored(away, target.sink)
    else:
        target = target_of(run, header, into=into)
        session = ReplaySession(
            Journal(target.sink), source, mode=mode, collect=collect, redact=wanted
        )
        played = play(session, source, found, now=now)
    if played.identical and mode == "exact":
        _baselines.add((source.log_root, code_digest(now)))
    strength = "isolated" if isolate else "guarded"
    return result_of(played, run, source, target=target, now=now, strength=strength)


def result_of(
    played: Played,
    run: Run,
    source: Recording,
    *,
    target: Target,
    now: dict[str, Any],
    strength: str,
) -> ReplayResult:
    """Return the result of what was played, with its certificate."""
    made = target.read()
    proof = certificate(
        played,
        source=source,
        source_row=run.info,
        made=recordings.read(made.event_log(), made.bodies()),
        made_row=made.info,
        code=now,
        strength=strength,
    )
    keeping.keep(proof, made)
    return ReplayResult(
        run=made,
        identical=played.identical,
        divergences=played.divergences,
        matches=matches(played.answered),
        certificate=proof,
        output=played.output,
    )


def read(run: Run) -> Recording:
    """Return a run's recording, or say why it cannot be replayed at all."""
    source = recordings.read(run.event_log(), run.bodies())
    source.require_replayable()
    return source


def agent_of(run: Run, source: Recording, agent: Any) -> agents.Agent:
    """Return the agent that was given, or the one the run names."""
    named = source.started.entry_point if source.started else None
    if agent is None and named is None:
        raise UsageError(
            "the run does not name its agent", where=run.run_id, hint="pass it: replay(run, agent)"
        )
    return agents.find_agent(agent if agent is not None else named)


# ---- baselines


def code_digest(made_of: dict[str, Any]) -> str:
    """Return a short digest of an agent's code, by which a baseline is known."""
    kept = {key: made_of.get(key) for key in ("modules", "functions")}
    return hashing.digest_of(kept)[:16]


_baselines: set[tuple[str, str]] = set()


def has_baseline(run: Run, source: Recording, now: dict[str, Any]) -> bool:
    """Say whether the same code has replayed this run exactly, here or in the run's store."""
    digest = code_digest(now)
    if (source.log_root, digest) in _baselines:
        return True
    passed = run.store.runs(status="done", label=f"replay_of:{run.run_id}")
    labels = [json.loads(text or "{}") for text in passed.filter(mode="exact")["labels"]]
    return any(found.get("code") == digest for found in labels)
