"""The verb: a fork of a run at one call."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workbench.capture import code
from workbench.capture.journal import Journal
from workbench.errors import CallNotFound, UsageError
from workbench.fork import edits as editing
from workbench.fork.plan import Plan, planned
from workbench.fork.session import ForkSession
from workbench.replay import isolation, redacting
from workbench.replay import verb as replaying
from workbench.replay.gate import Gate
from workbench.replay.playing import play
from workbench.replay.progress import shown
from workbench.replay.targets import target_of
from workbench.schema import RunHeader

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workbench.fork.session import OnMiss, Rest
    from workbench.recording import RecordedCall, Recording
    from workbench.replay.progress import Tell
    from workbench.replay.result import ReplayResult
    from workbench.store.protocol import Store
    from workbench.store.run import Run


def fork(
    run: Run,
    *,
    at: int,
    edits: Mapping[str, Any] | None = None,
    agent: Any = None,
    rest: Rest = "cached",
    on_miss: OnMiss = "fail",
    effects: Mapping[str, Any] | None = None,
    isolate: bool = False,
    into: Store | None = None,
    redact: Any = None,
) -> Fork:
    """Prepare a fork: the run up to one call, that call with another outcome, and the rest.

    The part before the cut is run again by the real code and answered from the recording. After it
    a call whose lane, number and request are as recorded is answered from the recording too; only
    what the edit changed goes on differently.

    Parameters
    ----------
    run
        The source; never changed.
    at
        The ``seq`` of a call (`run.calls`).
    edits
        ``{"outcome": …}``: text, a JSON value, a LangChain message, documents, an exception or
        ``{"exception": {"class": …, "message": …}}``. Without edits the fork is the source again.
    agent
        As in `workbench.replay`.
    rest
        What follows the edit: ``cached`` is answered from the recording or is a miss; ``live``
        runs models and retrievers, and tools that only read.
    on_miss
        In ``cached``: ``fail`` ends the fork at a miss, ``live`` lets that call run live.
    effects
        Tool name → ``pure``, ``read``, ``write``, ``irreversible``, or ``approved`` to let a tool
        act that is not known only to read.
    isolate
        Run in a child process without any network; only with ``rest="cached"``.
    into
        The store of the new run; default the source's own.
    redact
        As in `workbench.replay`.

    Raises
    ------
    CallNotFound
        ``at`` is not the seq of a call.
    ForkPoint
        An edit has an unknown key, or makes no sense.
    """
    if rest not in ("cached", "live"):
        raise UsageError("no such rest", expected=["cached", "live"], found=rest)
    if on_miss not in ("fail", "live"):
        raise UsageError("no such miss policy", expected=["fail", "live"], found=on_miss)
    if isolate and (rest, on_miss) != ("cached", "fail"):
        raise UsageError("an isolated fork calls nothing live", expected='rest="cached"')
    source = replaying.read(run)
    source.require_complete()
    return Fork(
        source=run,
        recording=source,
        at=_call_at(source, at),
        edits=editing.checked(edits),
        agent=agent if isolate else replaying.agent_of(run, source, agent),
        rest=rest,
        on_miss=on_miss,
        effects=dict(effects or {}),
        gate=Gate(effects, source),
        into=into,
        isolate=isolate,
        redact=redact,
    )


def _call_at(source: Recording, at: int) -> RecordedCall:
    calls = source.calls
    found = calls.number_of(at)
    if found is not None:
        return calls[found]
    if not calls:
        raise CallNotFound("the run has no calls", found=at)
    nearest = heapq.nsmallest(3, enumerate(calls.seqs), key=lambda one: (abs(one[1] - at), one[1]))
    near = [seq for _, seq in nearest]
    named = ", ".join(f"{seq} ({calls.kinds[n]} {calls.names[n]})" for n, seq in nearest)
    raise CallNotFound(f"no call has seq {at}", hint=f"nearest: {named}", wanted=at, nearest=near)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fork:
    """A fork that is ready to run; look at its `plan` first.

    ``agent`` was found already, but for an isolated fork: that finds it in its own process.
    """

    source: Run
    recording: Recording
    at: RecordedCall
    edits: dict[str, Any]
    agent: Any
    rest: Rest
    on_miss: OnMiss
    effects: dict[str, Any]
    gate: Gate
    into: Store | None
    isolate: bool = False
    redact: Any = None

    @property
    def edits_hash(self) -> str:
        """The hex sha-256 of the edits and their place."""
        return editing.edits_hash(self.edits, at=self.at.seq)

    def plan(self) -> Plan:
        """Return what will become of each call of the source, without running anything."""
        return planned(
            self.recording,
            self.at,
            gate=self.gate,
            rest=self.rest,
            edited=bool(self.edits),
        )

    def run(self, *, progress: Tell | None = None) -> ReplayResult:
        """Run the fork.

        Parameters
        ----------
        progress
            As in `workbench.replay`: called with (calls answered, calls of the source); default a
            bar, for forks that take longer than a second.

        Returns
        -------
        ReplayResult
            As of `workbench.replay`; a miss or a refused tool ends the new run with status
            ``diverged`` and stands in its ``divergences``.
        """
        options: dict[str, Any] = {
            "at": self.at.seq,
            "edits": self.edits,
            "rest": self.rest,
            "on_miss": self.on_miss,
            "effects": self.effects,
            "redact": redacting.wanted_for(self.recording, self.source.store, self.redact),
        }
        telling = shown(progress, what="fork")
        if self.isolate:
            job = isolation.Job(
                session="workbench.fork.session:from_options",
                options={
                    **options,
                    "edits": editing.sent(self.edits),
                    "redact": redacting.sent(options["redact"]),
                },
            )
            with isolation.started(self.source, self.agent) as child, telling as tell:
                now = child.imported()
                header = self._header(child.agent, now)
                target = target_of(self.source, header, into=self.into)
                played = child.play(job, self.source, target.sink, progress=tell)
        else:
            now = code.fingerprint(self.agent.target, entry_point=self.agent.entry_point)
            header = self._header(self.agent.entry_point, now)
            target = target_of(self.source, header, into=self.into)
            session = ForkSession(Journal(target.sink), self.recording, **options)
            with telling as tell:
                played = play(session, self.recording, self.agent, now=now, progress=tell)
        return replaying.result_of(
            played,
            self.source,
            self.recording,
            target=target,
            now=now,
            strength=self._strength,
        )

    @property
    def _strength(self) -> str:
        return "isolated" if self.isolate else "guarded"

    def _header(self, agent: str | None, now: dict[str, Any]) -> RunHeader:
        labels: dict[str, Any] = {"fork_of": self.source.run_id}
        if not replaying.has_baseline(self.source, self.recording, now, strength=self._strength):
            labels["unbaselined"] = True
        return RunHeader(
            name=self.source.name,
            agent=agent,
            labels=labels,
            mode="live" if self.rest == "live" else "cached",
            parent_run_id=self.source.run_id
            if self.into is None or self.into is self.source.store
            else None,
            forked_at=self.at.seq,
            edits_hash=self.edits_hash,
        )
