"""An agent's code runs in a replay session, and what came of it is summed up."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from workbench.capture import agents, code, humans, outside, running
from workbench.capture.record import run_in_session, write_root_end, write_root_start
from workbench.replay import divergence as d
from workbench.replay import guard, normal, outputs, savers, sleeps
from workbench.replay.progress import told

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workbench.recording import Recording
    from workbench.replay.divergence import Divergence
    from workbench.replay.progress import Tell
    from workbench.replay.session import Answered, ReplaySession

# these say why something may differ; where nothing else does they are no divergence
_NOTICES = frozenset({"dependency_changed", "own_value", "normaliser_failed"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """What came of a replay, counted from the calls really consumed.

    ``notices`` are other versions of what the agent stands on, values that were not recorded, and
    normalisers that raised; they join the ``divergences`` only where there are others, as their
    possible cause.
    """

    mode: str
    identical: bool
    divergences: list[Divergence]
    notices: list[Divergence]
    answered: list[Answered]
    unconsumed: int
    output: Any = None
    normalisers: list[dict[str, Any]] = field(default_factory=list)


def play(
    session: ReplaySession,
    source: Recording,
    agent: agents.Agent,
    *,
    now: dict[str, Any],
    progress: Tell | None = None,
) -> Played:
    """Run the agent, write the new run to its end, and sum up.

    ``progress`` is told how many calls are answered, of how many; what it raises cancels the
    replay and is raised here.

    Raises
    ------
    StoreError
        The new run could not be stored.
    """
    source.require_replayable()
    call = agents.RootCall.restored(source.started, source.bodies)
    for found in changed_code(source, now):
        session.note(found)
    write_root_start(session, agent, call, now)
    with told(
        progress,
        done=lambda: len(session.answered),
        total=len(source.calls),
        failed=session.cancel,
    ):
        ended = _played(session, agent, call)
    if session.cancelled_by is not None:
        ended.error = ended.output = None
        write_root_end(session, ended, status="cancelled")
        session.journal.close()
        raise session.cancelled_by
    if isinstance(ended.error, (KeyboardInterrupt, SystemExit)):
        write_root_end(session, ended, status="cancelled")
        session.journal.close()
        raise ended.error
    identical = _finish(session, source, ended)
    write_root_end(session, ended, status=_status(session, ended, identical=identical))
    session.journal.close()
    if session.journal.error is not None:
        raise session.journal.error
    real, notices = _told_apart(session.divergences)
    return Played(
        mode=session.mode,
        identical=identical,
        divergences=[*real, *notices] if real else [],
        notices=notices,
        answered=list(session.answered),
        unconsumed=len(session.engine.unused),
        output=ended.output,
        normalisers=[
            normal.told(name, found) for name, found in sorted(session.engine.normalisers.items())
        ],
    )


def _played(session: ReplaySession, agent: agents.Agent, call: agents.RootCall) -> running.Ended:
    with ExitStack() as stack:
        stack.enter_context(savers.replaced())
        stack.enter_context(sleeps.skipped())
        outside.replay_began(session)
        stack.callback(outside.replay_ended, session)
        stack.enter_context(guard.guarded(session))
        try:
            ended = run_in_session(session, agent.target, call, then=_going_on(session))
        finally:
            session.closed = True
    return ended


def _going_on(session: ReplaySession) -> Iterator[agents.RootCall]:
    """Give the recorded resumes of the root, as long as something waits for their answers."""
    source = session.recording
    for resume in source.resumes:
        call = agents.RootCall.restored(resume.started, source.bodies)
        found = None if session.stopped else humans.again(session, call, resume.answers)
        if found is None:
            return
        session.humans.continuing = found
        yield found


def _finish(session: ReplaySession, source: Recording, ended: running.Ended) -> bool:
    """Add what can only be told at the end, and say whether all was identical."""
    stopped = session.stopped or isinstance(ended.error, d.ReplayStopped)
    if stopped:
        ended.error, ended.output = None, None
    elif not session.edited:
        for missing in _missing(session):
            session.note(missing)
        for found in outputs.compare(source, ended, stored=session.as_stored):
            session.note(found)
    if session.edited:
        return False
    real, _ = _told_apart(session.divergences)
    return not stopped and not real and not session.engine.unused


def _told_apart(found: list[Divergence]) -> tuple[list[Divergence], list[Divergence]]:
    notices = [one for one in found if one.kind in _NOTICES]
    return [one for one in found if one.kind not in _NOTICES], notices


def _missing(session: ReplaySession) -> Iterator[Divergence]:
    """Give the recorded calls that were never made: in exact the first of each lane or all."""
    seen: set[str] = set()
    for call in session.engine.unused:
        if session.mode == "exact" and not session.collect and call.lane in seen:
            continue
        seen.add(call.lane)
        yield d.Divergence(
            kind="missing_call" if session.mode == "exact" else "unconsumed",
            seq=call.seq,
            lane=call.lane,
            expected=d.summary(call),
            actual=None,
            cause=f"{call.kind} {call.name} was recorded and never asked for",
            fix="the code takes another way, or the recording holds a call too many",
        )


def _status(session: ReplaySession, ended: running.Ended, *, identical: bool) -> str:
    if session.stopped or (session.mode == "exact" and not identical):
        return "diverged"
    return "failed" if ended.error is not None else "done"


def changed_code(source: Recording, now: dict[str, Any]) -> Iterator[Divergence]:
    """Give what changed in the agent's code and the distributions it stands on."""
    recorded = source.started.code if source.started else {}
    for name, then, here in code.differences(recorded, now):
        yield d.Divergence(
            kind="code_changed",
            seq=1,
            lane="root",
            expected=then,
            actual=here,
            cause=f"{name} is not the code that was recorded",
            fix="replay with the recorded version, or record the run again",
        )
    for name, then, here in code.upgraded(recorded, now):
        yield d.Divergence(
            kind="dependency_changed",
            seq=1,
            lane="root",
            expected=then,
            actual=here,
            cause=f"{name} {here} is installed, recorded was {then}",
            fix=f"install {name}=={then} if the replay differs",
        )
