"""The verb: call an agent once and keep everything that crossed its boundary."""

from __future__ import annotations

import warnings
from collections import Counter
from contextlib import suppress
from itertools import chain
from typing import TYPE_CHECKING, Any

from workbench import hashing
from workbench.capture import (
    agents,
    children,
    code,
    exceptions,
    humans,
    intercept,
    running,
    scope,
    values,
)
from workbench.capture.effects import Effects
from workbench.capture.journal import Journal
from workbench.capture.redacting import writer_of
from workbench.capture.session import Session
from workbench.errors import StoreError
from workbench.redaction import Wanted
from workbench.schema import RunHeader

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from workbench.capture.session import OnError
    from workbench.schema import Effect
    from workbench.store.protocol import RunWriter, Store
    from workbench.store.run import Run


_NAMED = 5


class RecordingWarning(UserWarning):
    """A recording lacks something; what it is worth is told in the message."""


def write_root_start(
    session: Session, agent: agents.Agent, call: agents.RootCall, fingerprint: dict[str, Any]
) -> None:
    """Write a run's first event."""
    payload, bodies, lossy = agents.run_started_payload(agent, call, session.pool, fingerprint)
    if lossy:
        session.lossy["the run's input"] += 1
    session.journal.put(
        "run_started",
        payload=payload,
        bodies=bodies,
        quality="lossy" if lossy else "full",
        lane="root",
    )


def write_root_end(session: Session, ended: running.Ended, *, status: str) -> None:
    """Write a run's last event."""
    children.tell_of_children(session)
    humans.give_up(session)
    freezer = values.Freezer()
    body: dict[str, Any] = {}
    for index, chunk in enumerate(ended.chunks):
        piece = hashing.dumps_in_order({"index": index, "pieces": [freezer(chunk)]})
        session.journal.put("chunk", payload=piece, lane="root")
    if ended.error is not None:
        body["exception"] = exceptions.to_record(ended.error, freezer)
    elif ended.output is not None:
        body["output"] = freezer(ended.output)
    if freezer.lossy:
        session.lossy["the run's output"] += 1
    session.journal.put(
        "run_ended",
        payload=hashing.dumps(body),
        quality="lossy" if freezer.lossy else "full",
        lane="root",
        status=status,
    )


def run_in_session(
    session: Session, target: Any, call: agents.RootCall, *, then: Iterable[agents.RootCall] = ()
) -> running.Ended:
    """Call a root with every boundary of it in this session; ``then`` is how it goes on."""
    with intercept.installed():
        for part in chain((call,), then):
            former = scope.raw()
            try:
                scope.inhabit(scope.Scope(session, scope.Place("root")))
                ended = running.run_root(target, part)
            finally:
                scope.put(former)
    return ended


def status_of(error: BaseException | None) -> str:
    """Return the status of a run that ended so."""
    if error is None:
        return "done"
    return "failed" if isinstance(error, Exception) else "cancelled"


def record_into(
    sink: RunWriter,
    agent: agents.Agent,
    call: agents.RootCall,
    *,
    effects: Mapping[str, Effect] | None = None,
    on_error: OnError = "open",
    redact: Wanted | None = None,
) -> tuple[Session, running.Ended]:
    """Record one call of an agent into a writer, and close it."""
    journal = Journal(sink, redact=redact)
    session = Session(journal, effects=Effects(effects), on_error=on_error)
    write_root_start(
        session, agent, call, code.fingerprint(agent.target, entry_point=agent.entry_point)
    )
    try:
        ended = run_in_session(session, agent.target, call)
    finally:
        session.closed = True
    if not session.is_child:
        write_root_end(session, ended, status=status_of(ended.error))
    session.journal.close()
    tell(session)
    return session, ended


def tell(session: Session) -> None:
    """Warn of what a recording lacks; a forked process leaves that to its parent."""
    if session.is_child:
        return
    for said in [*_lacks(session.journal), *_gaps(session)]:
        warnings.warn(said, RecordingWarning, stacklevel=4)


def _lacks(journal: Journal) -> Iterator[str]:
    if journal.ended:
        yield (
            f"the run was ended by the server while it was recorded: "
            f"{journal.unsent} later events were not stored"
        )
        return
    if journal.spooled:
        yield (
            f"{journal.spooled} events wait on this machine's disk "
            f"({journal.error}): `workbench spool flush` sends them"
        )
    if journal.unsent or (journal.error is not None and not journal.spooled):
        why = journal.error or "neither memory nor disk nor store had room for them"
        yield f"the recording is incomplete: {journal.unsent} events could not be stored ({why})"
    if journal.stubs:
        yield (
            f"{journal.stubs} events are stored without their contents, "
            "which the server would not take: their quality is truncated"
        )
    if journal.redaction.withheld:
        yield (
            f"{journal.redaction.withheld} values were withheld: the redact function raised on "
            "them, or made of them what is no JSON"
        )


def _gaps(session: Session) -> Iterator[str]:
    """Say what stands in the way of an exact replay; `Run.coverage` tells where it stands."""
    missed = Counter(f"{gap['kind']} {gap['name']}" for gap in session.gaps)
    for found, what in (
        (missed, "calls were not recorded"),
        (session.lossy, "calls are lossy, since not all they hold can be restored"),
    ):
        if found:
            named = ", ".join(sorted(found)[:_NAMED] + ["…"] * (len(found) > _NAMED))
            yield f"{found.total()} {what} ({named}): the run cannot be replayed exactly"
    if session.unordered:
        yield (
            f"{session.unordered} calls ran beside other work of their lane, and their order is "
            "inferred: the run cannot be replayed exactly"
        )


def record(
    store: Store,
    agent: Any = None,
    input: Any = None,  # noqa: A002 - the public verb's own word
    *,
    name: str | None = None,
    labels: Mapping[str, str | float | bool | None] | None = None,
    config: Mapping[str, Any] | None = None,
    entry: agents.Entry | None = None,
    stream_mode: Any = None,
    effects: Mapping[str, Effect] | None = None,
    on_error: OnError = "open",
    redact: Any = None,
) -> Any:
    """Call an agent once and keep everything that crosses its boundary; or record a block.

    Parameters
    ----------
    store
        Where the run goes.
    agent
        A callable or a LangChain Runnable, or ``module:attribute``. Without one the result is a
        context: ``with wb.record(store, name=…) as run:`` records what runs in the block, and the
        outermost Runnable or `workbench.root` function in it is the run's root.
    input
        What the agent is called with. It must survive JSON (messages do), else the run is lossy.
    name, labels
        What the run is called; labels are flat.
    config
        As of ``Runnable.invoke``; its ``configurable`` is part of the recording.
    entry
        ``invoke``, ``ainvoke``, ``stream``, ``astream``, or ``call`` for a plain function; default
        ``invoke`` or ``call``. A replay uses the same.
    stream_mode
        As of a graph's ``stream``.
    effects
        Tool name → ``pure``, ``read``, ``write``, ``irreversible``; else what the tool declares by
        `workbench.tool_effects`, else ``unknown``.
    on_error
        What becomes of the agent when its recording fails (no server, no room on the disk):
        ``open`` lets it go on, keeps what can be kept and tells what is missing; ``closed`` stops
        it at its next call.
    redact
        What is hidden beside what the workspace's rules hide: a `workbench.Rule`, a function that
        gets each recorded value as JSON and returns what may be stored of it, or a list of these.
        It is applied before anything is hashed or written to the disk, behind the agent, on a
        thread of its own. A value it raises on is withheld.

    Returns
    -------
    Run
        The finished run; of status ``failed``, with its exception, where the agent raised.

    Raises
    ------
    RecordingFailed
        The recording could not go on or is not delivered, and ``on_error`` is ``closed``.
    UsageError
        The agent cannot be called so, or ``redact`` is neither rule nor function.

    Warns
    -----
    RecordingWarning
        Calls were seen that no interception recorded, or events could not be stored.

    Examples
    --------
    >>> run = wb.record(store, agent, {"messages": [("user", "hi")]})  # doctest: +SKIP
    >>> run.calls["lane"].to_list()  # doctest: +SKIP
    ['root/agent']
    """
    from workbench.capture.block import OpenRun

    wanted = Wanted.of(redact)
    if agent is None:
        return OpenRun(
            store, name=name, labels=labels, effects=effects, on_error=on_error, redact=wanted
        )
    found = agents.find_agent(agent)
    call = agents.RootCall.of(found, input, entry=entry, config=config, stream_mode=stream_mode)
    header = RunHeader(
        name=name or default_name(found), agent=found.entry_point, labels=dict(labels or {})
    )
    sink = writer_of(store, header, wanted)
    session, ended = record_into(
        sink, found, call, effects=effects, on_error=on_error, redact=wanted
    )
    if ended.error is not None and not isinstance(ended.error, Exception):
        raise ended.error
    if on_error == "closed":
        session.journal.check()
    return run_of(store, header, session, sink.run_id, status=status_of(ended.error))


def run_of(store: Store, header: RunHeader, session: Session, run_id: str, *, status: str) -> Run:
    """Return a recorded run, to be read later where the store cannot show it yet."""
    from workbench.store.run import Run  # with all that reads runs

    # Whoever could not be reached is not asked again: it would hold the agent's host.
    if session.journal.error is None or session.journal.ended:
        with suppress(StoreError):  # it went away this moment
            return store.run(run_id)
    known = {"run_id": run_id, "name": header.name, "agent": header.agent, "status": status}
    return Run(store, known)


def default_name(agent: agents.Agent) -> str:
    """Return what a run is called when nobody named it."""
    named = agent.entry_point or getattr(agent.target, "__qualname__", None)
    return str(named or getattr(agent.target, "name", None) or type(agent.target).__name__)
