"""An agent's code runs in a replay session, and what came of it is summed up."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from workbench.capture import agents, code, humans, outside, running, transcripts
from workbench.capture.record import run_in_session, write_root_end, write_root_start
from workbench.replay import divergence as d
from workbench.replay import frozen, guard, normal, outputs, promises, savers, sleeps
from workbench.replay.progress import told

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workbench.recording import Recording
    from workbench.replay.answers import Answers
    from workbench.replay.divergence import Divergence
    from workbench.replay.progress import Tell
    from workbench.replay.session import ReplaySession

# such a difference is told at the very call that was not asked for
_NAME_THE_CALL = frozenset(
    {"request_changed", "nondeterminism", "name_changed", "missing_call", "refused"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """What came of a replay, counted from the calls really consumed.

    ``notices`` are other versions of what the agent stands on, values that were not recorded,
    normalisers that raised, answers that an importer reconstructed or that came out of turn; they
    join the ``divergences`` only where there are others, as their possible cause. ``renamed`` tells
    which ids of a provider were taken for which recorded ones: ``seq asked recorded``. ``status``
    is that of the new run; ``unwritten`` says why not all of it could be written.
    """

    mode: str
    policy: dict[str, Any]
    identical: bool
    divergences: list[Divergence]
    notices: list[Divergence]
    answered: Answers
    unconsumed: int
    output: Any = None
    normalisers: list[dict[str, Any]] = field(default_factory=list)
    renamed: list[dict[str, Any]] = field(default_factory=list)
    status: str = "done"
    unwritten: str | None = None


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
    """
    source.require_replayable()
    call = transcripts.root_call(source, agent)
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
    identical = _finish(session, ended)
    status = _status(session, ended, identical=identical)
    write_root_end(session, ended, status=status)
    session.journal.close()
    real, notices = _told_apart(session.divergences)
    return Played(
        mode=session.mode,
        policy={**session.policy.as_dict(), "used": session.live.purse.as_dict()},
        identical=identical,
        divergences=[*real, *notices] if real else [],
        notices=notices,
        answered=session.answered,
        unconsumed=session.engine.left,
        output=ended.output,
        normalisers=normal.told(session.engine.normalisers),
        renamed=session.engine.renamed,
        status=status,
        unwritten=None if session.journal.error is None else str(session.journal.error),
    )


def _played(session: ReplaySession, agent: agents.Agent, call: agents.RootCall) -> running.Ended:
    source = session.recording
    with ExitStack() as stack:
        stack.enter_context(savers.replaced())
        stack.enter_context(sleeps.skipped())
        outside.replay_began(session)
        stack.callback(outside.replay_ended, session)
        stack.enter_context(guard.guarded(session))
        stack.callback(session.turns.close)
        stack.enter_context(frozen.as_recorded(source))
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


def _finish(session: ReplaySession, ended: running.Ended) -> bool:
    """Add what can only be told at the end, and say whether all was identical."""
    stopped = session.stopped or isinstance(ended.error, d.ReplayStopped)
    if stopped:
        ended.error, ended.output = None, None
    if session.edited or session.mode == "simulated":
        return False  # it was not meant to be as its source
    for found in _told_at_the_end(session, ended, stopped=stopped):
        session.note(found)
    real, _ = _told_apart(session.divergences)
    return not (stopped or real or session.improvised or session.engine.left)


def _told_at_the_end(
    session: ReplaySession, ended: running.Ended, *, stopped: bool
) -> Iterator[Divergence]:
    source = session.recording
    at_the_end = [] if stopped else [*outputs.compare(source, ended, stored=session.as_stored)]
    if at_the_end or (session.engine.left and not stopped):
        yield from session.engine.left_over()
    yield from _never_asked(session, stopped=stopped)
    yield from at_the_end
    yield from promises.fallen_short(source, session.answered, mode_of=session.mode_of)


def _told_apart(found: list[Divergence]) -> tuple[list[Divergence], list[Divergence]]:
    notices = [one for one in found if d.is_notice(one)]
    return [one for one in found if not d.is_notice(one)], notices


def _never_asked(session: ReplaySession, *, stopped: bool) -> Iterator[Divergence]:
    """Give the recorded calls that were never asked for and that nothing else tells of.

    In exact these are the first of each lane, or all of them where they are collected. A replay
    that was stopped has not come to the calls behind: of a cached one those are told whose
    position was asked for.
    """
    exact = session.mode == "exact"
    if stopped and exact:
        return
    reached = {row.lane: row.ordinal for row in session.answered} if stopped else None
    named = [found for found in session.divergences if found.kind in _NAME_THE_CALL]
    told = set() if exact else {found.seq for found in named}
    seen: set[str] = set()
    for call in session.engine.unused():
        is_behind = reached is not None and call.ordinal > reached.get(call.lane, 0)
        is_one_more = exact and not session.collect and call.lane in seen
        if is_behind or is_one_more or call.seq in told:
            continue
        seen.add(call.lane)
        yield d.Divergence(
            kind="missing_call" if exact else "unconsumed",
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
