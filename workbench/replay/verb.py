"""The verb: run an agent's real code again with its recording in place of the world."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Literal

from workbench import hashing
from workbench.capture import agents, code, transcripts
from workbench.capture.journal import Journal
from workbench.capture.normalise import check_normalise
from workbench.errors import UsageError
from workbench.replay import gate, isolation, keeping, redacting, served
from workbench.replay.certificate import certificate, counted
from workbench.replay.kin import Kin
from workbench.replay.playing import play
from workbench.replay.policy import ORDERS, Policy
from workbench.replay.progress import shown
from workbench.replay.result import ReplayResult, matches
from workbench.replay.session import ReplaySession
from workbench.replay.targets import target_of
from workbench.schema import RunHeader

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workbench.capture.normalise import Normalise
    from workbench.recording import Recording
    from workbench.replay.playing import Played
    from workbench.replay.policy import Budget, OnMiss, Order
    from workbench.replay.progress import Tell
    from workbench.replay.simulate import Simulator
    from workbench.replay.targets import Target
    from workbench.schema import Mode
    from workbench.store.protocol import Store
    from workbench.store.run import Run


def replay(
    run: Run,
    agent: Any = None,
    *,
    mode: Mode = "exact",
    overrides: Mapping[str, Mode] | None = None,
    on_miss: OnMiss = "fail",
    effects: Mapping[str, Any] | None = None,
    budget: Budget | Mapping[str, Any] | None = None,
    collect: bool = False,
    isolate: bool = False,
    into: Store | None = None,
    redact: Any = None,
    normalise: Mapping[str, Normalise] | None = None,
    simulate: Simulator | None = None,
    order: Order = "declared",
    progress: Tell | None = None,
    timeout: float | None = None,
    on: Literal["here", "server"] = "here",
    key: str | None = None,
) -> ReplayResult:
    """Run an agent again with every call answered from a recorded run.

    Nothing is called outside, but for what is told to be live. The recorded input takes the place
    of a new one, sleeps are skipped until something live is waited for, graphs get a fresh
    in-memory saver, and the recording is never changed.

    Parameters
    ----------
    run
        The recorded run.
    agent
        The callable or Runnable, or ``module:attribute``; default the one the run names.
    mode
        ``exact``: position and signature of each call must be the same, and the agent is stopped
        at the first difference. ``cached``: a recorded answer to the same request is taken also
        from another place of the run, and, of calls that only read, from the runs it came from
        and other runs of the same agent. ``simulated``: every call gets a plausible answer, or is
        a miss. ``live``: calls are made.
    overrides
        Another mode for some calls: ``{"kind:model": "live", "tool:search": "cached",
        "lane:root/agent": "exact"}``. A lane stands for what lies below it too. The narrowest
        wins: lane, then name (``tool:`` names any call), then kind.
    on_miss
        What follows a cached call that nothing answers: ``fail`` ends the replay, ``error`` raises
        `CallMissed` in the agent, ``simulate`` gives a plausible answer, ``live`` makes the call.
    effects
        Tool name → ``pure``, ``read``, ``write``, ``irreversible``, or ``approved``. Live, only
        tools that are known to read, or are approved, are called; others end the replay.
    budget
        Bounds of all live calls together: ``{"calls": 10, "usd": 0.5, "seconds": 60}``.
    collect
        Go on after a difference wherever the recording has something to go on with, and report
        all of them: a call is answered by the recorded call that fits best, a stream that is read
        otherwise as it was recorded. It ends, as without, where there is nothing: no recorded call
        is left, something crosses the boundary unrecorded, or tries to connect.
    isolate
        Replay in a child process without any network, so with nothing live. An agent that is
        named, and not given, is imported there alone.
    into
        The store of the new run; default the run's own. For a read-only store the new run is
        written to a temporary folder, whose path is printed.
    redact
        The function that the run was recorded with, if there was one; the rules of that time are
        in the recording.
    normalise
        What of a call's request may differ in a cached replay, by the name of the call: JSON
        pointers, as a divergence's ``normaliser`` gives them, or a function that takes a request
        and returns what has to be equal of it.
    simulate
        Where simulated answers are from; default the recorded calls of the whole store that are
        nearest (see `workbench.replay.simulate.Simulator`).
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
        A difference is a value: see its ``divergences``. With a live answer nothing is identical;
        what it gave is compared with what was recorded in its place, and later requests that hold
        it as a message are answered as if they held the recorded one.

    Raises
    ------
    NotReplayable
        The run has no recorded root, or cannot be isolated here; or the process of an isolated
        replay was killed, or took longer than its timeout.
    RecordingIncomplete
        Exact was asked, and the recording lacks something.
    UsageError
        A mode, policy, override, budget or normaliser that makes no sense; no agent.

    Examples
    --------
    >>> store = wb.open("datasets")
    >>> run = store.run(store.runs()["run_id"][0])
    >>> wb.replay(run, "workbench.examples.support_desk:agent").identical
    True
    """
    policy = Policy.of(mode, on_miss=on_miss, overrides=overrides, budget=budget)
    options: dict[str, Any] = {
        "effects": gate.checked(effects),
        "collect": collect,
        "order": order,
        "normalise": normalise,
    }
    if on == "server":
        here_alone = {"normalise": normalise, "simulate": simulate, "effects": effects or None}
        served.refuse(agent, into=into, redact=redact, timeout=timeout, **here_alone)
        asked = {**policy.as_dict(), "collect": collect, "order": order}
        return served.replay_there(run, agent, key=key, progress=progress, **asked)
    _require_sense(policy, isolate=isolate, timeout=timeout, **options, simulate=simulate)
    strength = "isolated" if isolate else "guarded"
    with ExitStack() as stack:
        child = None
        if isolate:  # it imports the agent while the recording is read here
            child = stack.enter_context(isolation.started(run, agent, timeout=timeout))
        source = read(run)
        if policy.mode == "exact":
            source.require_complete()
        wanted = redacting.wanted_for(source, run.store, redact)
        if policy.may_simulate:
            from workbench.replay.lake import prepared

            simulate = prepared(simulate, run, source.calls)
        if child is None:
            found = agent_of(run, source, agent)
            now = code.fingerprint(found.target, entry_point=found.entry_point)
            name = found.entry_point
        else:
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
        kin = Kin(run) if "cached" in policy.modes else None
        if child is None:
            session = ReplaySession(
                *(Journal(target.sink), source),
                policy=policy,
                redact=wanted,
                kin=kin,
                simulate=simulate,
                **options,
            )
            played = play(session, source, found, now=now, progress=tell)
        else:
            sent = {**options, "policy": policy.as_dict(), "redact": redacting.sent(wanted)}
            sent["simulate"] = _sent(simulate, source)
            job = isolation.Job(session="workbench.replay.session:from_options", options=sent)
            played = child.play(job, run, target.sink, progress=tell, kin=kin)
    if played.identical and mode == "exact":
        _baselines.add((source.log_root, code_digest(now), strength))
    return result_of(played, run, source, target=target, now=now, strength=strength)


def _require_sense(policy: Policy, *, isolate: bool, timeout: float | None, **asked: Any) -> None:
    """Refuse what contradicts itself, before anything is read or made."""
    for one in (asked["normalise"] or {}).values():
        check_normalise(one)
    if isolate and policy.may_call:
        raise UsageError(
            "an isolated replay has no way out, so nothing in it can be live",
            hint="replay with isolate=False, or without what is live",
        )
    if isolate and any(map(callable, (asked["normalise"] or {}).values())):
        raise UsageError(
            "a function cannot be taken into an isolated replay",
            where="normalise=",
            hint="give JSON pointers, declare it on the tool itself, or replay with isolate=False",
        )
    if asked["order"] not in ORDERS:
        raise UsageError("no such order of answers", expected=list(ORDERS), found=asked["order"])
    if asked["simulate"] is not None and not policy.may_simulate:
        raise UsageError(
            "nothing in this replay is simulated",
            where="simulate=",
            hint='mode="simulated", on_miss="simulate", or an override simulates calls',
        )
    if timeout is not None and not isolate:
        raise UsageError("only an isolated replay has a timeout", hint="pass isolate=True")


def _sent(simulator: Simulator | None, source: Recording) -> dict[str, Any] | None:
    """Return for a child what answers its calls: of recorded ones those its source made."""
    if simulator is None:
        return None
    from workbench.replay.simulate import sent

    return sent(simulator, zip(source.calls.kinds, source.calls.names, strict=True))


def result_of(
    played: Played,
    run: Run,
    source: Recording,
    *,
    target: Target,
    now: dict[str, Any],
    strength: str,
) -> ReplayResult:
    """Return the result of what was played, with its certificate.

    The agent has ended: what fails from here on is a warning, and one of the result's ``lost``.
    """
    lost = keeping.Lost()
    made, written = target.unread(played.status), None
    if played.unwritten is not None:
        lost.tell(f"not all of run {made.run_id} could be written", played.unwritten)
    else:
        with lost.told_of(f"run {made.run_id} could not be read back"):
            made = target.read()
            written = made.written()
    proof = {**counted(played, source, strength=strength), "digest": None}
    with lost.told_of(f"the replay in run {made.run_id} could not be certified"):
        proof = certificate(
            played,
            source=source,
            source_row=run.info,
            made=written,
            made_row=made.info,
            code=now,
            strength=strength,
        )
    if written is not None and proof["digest"] is not None:
        with lost.told_of(f"the certificate of run {made.run_id} could not be stored"):
            keeping.keep(proof, made)
    return ReplayResult(
        run=made,
        identical=played.identical,
        divergences=played.divergences,
        matches=matches(played.answered),
        certificate=proof,
        output=played.output,
        lost=lost.told,
    )


def read(run: Run) -> Recording:
    """Return a run's recording, or say why it cannot be replayed at all."""
    source = run.recording()
    source.require_replayable()
    return source


def agent_of(run: Run, source: Recording, agent: Any) -> agents.Agent:
    """Return the agent that was given, or the one the run names."""
    named = source.started.entry_point if source.started else None
    if agent is None and named is None:
        raise UsageError(
            "the run does not name its agent", where=run.run_id, hint="pass it: replay(run, agent)"
        )
    found = agents.find_agent(agent if agent is not None else named)
    transcripts.require_loop(source, found)
    return found


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
