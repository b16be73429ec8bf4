"""The verb: run an agent's real code again with its recording in place of the world."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Literal

from workbench import hashing
from workbench import recording as recordings
from workbench.capture import agents, code
from workbench.capture.journal import Journal
from workbench.errors import UsageError
from workbench.replay import isolation, redacting, served
from workbench.replay.certificate import certificate
from workbench.replay.playing import play
from workbench.replay.progress import shown
from workbench.replay.result import ReplayResult, matches
from workbench.replay.session import ReplaySession
from workbench.replay.targets import target_of
from workbench.schema import RunHeader

if TYPE_CHECKING:
    from workbench.recording import Recording
    from workbench.replay.playing import Played
    from workbench.replay.progress import Tell
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
    progress: Tell | None = None,
    timeout: float | None = None,
    on: Literal["here", "server"] = "here",
    key: str | None = None,
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
        Replay in a child process without any network. An agent that is named, and not given, is
        imported there alone.
    collect
        Go on after a difference where an answer can be found, and report all of them.
    redact
        The function that the run was recorded with, if there was one; the rules of that time are
        in the recording.
    progress
        Called with (calls answered, calls recorded), at most ten times a second, also while nothing
        changes, and at the end; what it raises ends the replay, whose run is cancelled, and is
        raised here. Default: a bar, for replays that take longer than a second.
    timeout
        Seconds after which an isolated replay is killed; its run is cancelled.

    on, key
        ``server``: a worker of the run's server replays it, isolated, and is waited for. The agent
        is then the name under which the operator registered it, and the same ``key`` finds the same
        replay again; see also ``store.replays``.

    Returns
    -------
    ReplayResult
        A difference is a value: see its ``divergences``.

    Raises
    ------
    NotReplayable
        The run has no recorded root, or cannot be isolated here; or the process of an isolated
        replay was killed, or took longer than its timeout.
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
    if on == "server":
        served.refuse(agent, into=into, redact=redact, timeout=timeout)
        return served.replay_there(
            run, agent, key=key, mode=mode, collect=collect, progress=progress
        )
    if mode not in ("exact", "cached"):
        raise UsageError("no such replay mode", expected=["exact", "cached"], found=mode)
    if timeout is not None and not isolate:
        raise UsageError("only an isolated replay has a timeout", hint="pass isolate=True")
    strength = "isolated" if isolate else "guarded"
    with ExitStack() as stack:
        child = None
        if isolate:  # it imports the agent while the recording is read here
            child = stack.enter_context(isolation.started(run, agent, timeout=timeout))
        source = read(run)
        if mode == "exact":
            source.require_complete()
        wanted = redacting.wanted_for(source, run.store, redact)
        options: dict[str, Any] = {"mode": mode, "collect": collect, "redact": wanted}
        if child is None:
            found = agent_of(run, source, agent)
            now = code.fingerprint(found.target, entry_point=found.entry_point)
            name = found.entry_point
        else:
            options["redact"] = redacting.sent(wanted)
            name, now = child.agent, child.imported()
        header = RunHeader(
            name=run.name,
            agent=name,
            labels={"replay_of": run.run_id, "code": code_digest(now), "strength": strength},
            mode=mode,
            parent_run_id=run.run_id if into is None or into is run.store else None,
        )
        target = target_of(run, header, into=into)
        tell = stack.enter_context(shown(progress))
        if child is None:
            session = ReplaySession(Journal(target.sink), source, **options)
            played = play(session, source, found, now=now, progress=tell)
        else:
            job = isolation.Job(session="workbench.replay.session:from_options", options=options)
            played = child.play(job, run, target.sink, progress=tell)
    if played.identical and mode == "exact":
        _baselines.add((source.log_root, code_digest(now), strength))
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
        source_id=run.run_id,
        made=recordings.read(made.event_log(), made.bodies()),
        made_id=made.run_id,
        code=now,
        strength=strength,
    )
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
    """Return a short digest of an agent's code and its Python, by which a baseline is known."""
    kept = {key: made_of.get(key) for key in ("modules", "functions")}
    kept["python"] = (made_of.get("distributions") or {}).get("python")
    return hashing.digest_of(kept)[:16]


_baselines: set[tuple[str, str, str]] = set()


def has_baseline(run: Run, source: Recording, now: dict[str, Any], *, strength: str) -> bool:
    """Say whether the same code has replayed this run exactly, here or in the run's store.

    The same means with the same Python too, and in the same way: guarded or isolated.
    """
    digest = code_digest(now)
    if (source.log_root, digest, strength) in _baselines:
        return True
    passed = run.store.runs(status="done", label=f"replay_of:{run.run_id}")
    labels = [json.loads(text or "{}") for text in passed.filter(mode="exact")["labels"]]
    return any((found.get("code"), found.get("strength")) == (digest, strength) for found in labels)
