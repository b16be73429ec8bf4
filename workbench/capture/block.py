"""``with wb.record(store) as run:`` records what runs inside the block."""

from __future__ import annotations

import warnings
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from langgraph.types import Command

from workbench import hashing
from workbench.capture import agents, code, exceptions, intercept, outcomes, running, scope, values
from workbench.capture.effects import Effects
from workbench.capture.journal import Journal
from workbench.capture.record import (
    RecordingWarning,
    run_of,
    status_of,
    tell,
    write_root_end,
    write_root_start,
)
from workbench.capture.redacting import writer_of
from workbench.capture.session import Session
from workbench.errors import StoreError, UsageError
from workbench.schema import RunHeader

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from workbench.capture.session import OnError
    from workbench.redaction import Wanted
    from workbench.schema import Effect
    from workbench.store.protocol import Store


class BlockSession(Session):
    """A recording whose root is the first Runnable, or decorated function, called in the block.

    Further ones are ``root[1]``, ``root[2]``, … and steps of the run.
    """

    watches_roots = True

    def __init__(
        self, journal: Journal, *, effects: Effects | None = None, on_error: OnError = "open"
    ) -> None:
        super().__init__(journal, effects=effects, on_error=on_error)
        self.roots: list[OpenRoot] = []

    def open_root(self, agent: agents.Agent, call: agents.RootCall) -> OpenRoot:
        """Begin a root and write its start."""
        with self.lock:
            former = self._continued(agent, call)
            if former is not None:
                return self._going_on(former, call)
            number = len(self.roots)
            place = scope.Place("root" if number == 0 else f"root[{number}]")
            opened = OpenRoot(
                session=self,
                agent=agent,
                call=call,
                scope=scope.Scope(self, place, in_root=True),
                step_id=self.journal.step_id() if number else None,
            )
            self.roots.append(opened)
        if number == 0:
            made_of = code.fingerprint(agent.target, entry_point=agent.entry_point)
            write_root_start(self, agent, call, made_of)
        else:
            self._write_step(opened)
        return opened

    def _continued(self, agent: agents.Agent, call: agents.RootCall) -> OpenRoot | None:
        """Return the root that a call goes on with, where it stopped to wait."""
        if call.input is not None and not isinstance(call.input, Command):
            return None
        alike = (r for r in reversed(self.roots) if r.goes_on_as(agent, call))
        return next(alike, None)

    def _going_on(self, former: OpenRoot, call: agents.RootCall) -> OpenRoot:
        self.humans.continuing = call
        place = scope.Place(former.scope.place.path, step_id=former.step_id)
        return OpenRoot(
            session=self,
            agent=former.agent,
            call=call,
            scope=scope.Scope(self, place, in_root=True),
            step_id=None,
            former=former,
        )

    def _write_step(self, opened: OpenRoot) -> None:
        fields, bodies, _ = opened.call.recorded(self.pool)
        opened.scope.place.step_id = opened.step_id
        self.journal.put(
            "step_started",
            payload=hashing.dumps({"input": fields}),
            bodies=bodies,
            step_id=opened.step_id,
            name=opened.scope.place.path,
            lane=opened.scope.place.path,
            status="running",
        )


@dataclass(kw_only=True)
class OpenRoot:
    """A root that has begun; `end` writes what it came to."""

    session: BlockSession
    agent: agents.Agent
    call: agents.RootCall
    scope: scope.Scope
    step_id: str | None
    ended: running.Ended | None = None
    former: OpenRoot | None = None

    def goes_on_as(self, agent: agents.Agent, call: agents.RootCall) -> bool:
        """Say whether a call is of the same agent in the same thread, after this one's end."""
        same = self.agent.target is agent.target and self.call.thread == call.thread
        return same and self.ended is not None

    def end(self, ended: running.Ended) -> None:
        """Keep how the root ended; a later root's end is written at once."""
        self.ended = ended
        if self.former is not None:
            self.former.ended = ended
        if self.step_id is None or self.session.closed:
            return
        freeze = values.Freezer()
        body = {"output": freeze(ended.output)}
        if ended.error is not None:
            body = {"exception": exceptions.to_record(ended.error, freeze)}
        self.session.journal.put(
            "step_ended",
            payload=hashing.dumps(body),
            step_id=self.step_id,
            name=self.scope.place.path,
            lane=self.scope.place.path,
            quality="lossy" if freeze.lossy else "full",
            status="ok" if ended.error is None else "error",
        )

    def final(self, chunks: list[Any]) -> Any:
        """Return the output of a streamed root, as far as its chunks tell."""
        if not hasattr(self.agent.target, "stream_channels"):
            return outcomes.folded(chunks)
        modes = self.call.stream_mode or self.agent.target.stream_mode
        if modes == "values":
            return chunks[-1] if chunks else None
        values_ = [c[1] for c in chunks if isinstance(modes, list) and c[0] == "values"]
        return values_[-1] if values_ else None


class _NoSink:
    """Stands for a store that could not be reached: every append fails with the same error."""

    def __init__(self, error: StoreError) -> None:
        self.run_id = ""
        self._error = error

    def append(self, *_: Any) -> None:
        """Refuse, as the store did."""
        raise self._error

    def close(self) -> None:
        """Nothing is open."""


class OpenRun:
    """A recording in progress; after the block it reads like the run it became."""

    def __init__(
        self,
        store: Store,
        *,
        name: str | None,
        labels: Mapping[str, Any] | None,
        effects: Mapping[str, Effect] | None,
        on_error: OnError,
        redact: Wanted | None = None,
    ) -> None:
        self._store = store
        self._redact = redact
        self._header = RunHeader(name=name, labels=dict(labels or {}))
        self._effects = Effects(effects)
        self._on_error = on_error
        self._stack = ExitStack()
        self._run: Any = None
        self.run_id = ""

    def __repr__(self) -> str:
        return f"<recording {self.run_id}>" if self._run is None else repr(self._run)

    def __enter__(self) -> Self:
        sink: Any
        try:
            sink = writer_of(self._store, self._header, self._redact)
        except StoreError as error:
            if self._on_error == "closed":
                raise
            sink = _NoSink(error)
        self.run_id = sink.run_id
        journal = Journal(sink, redact=self._redact)
        self._session = BlockSession(journal, effects=self._effects, on_error=self._on_error)
        self._session.journal.hold()
        self._stack.enter_context(intercept.installed())
        self._stack.enter_context(intercept.roots_installed())
        self._stack.callback(scope.put, scope.raw())
        scope.inhabit(scope.Scope(self._session, scope.Place("root")))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()
        self._session.closed = True
        if not self._session.is_child:
            self._write_end(error)
        self._session.journal.close()
        tell(self._session)
        status = status_of(error or self._ended(error).error)
        self._run = run_of(self._store, self._header, self._session, self.run_id, status=status)
        if self._on_error == "closed" and error is None:
            self._session.journal.check()

    @property
    def cancelled(self) -> bool:
        """Whether somebody cancelled the run meanwhile: known at the next heartbeat or batch.

        The agent goes on all the same; a long one may look here and end itself.
        """
        return self._session.journal.cancelled

    def _write_end(self, error: BaseException | None) -> None:
        session = self._session
        if not session.roots:
            session.journal.put("run_started", lane="root")
            warnings.warn(
                "no Runnable and no decorated function ran in the block: "
                "the run can be looked at, and is not replayable",
                RecordingWarning,
                stacklevel=3,
            )
        ended = self._ended(error)
        write_root_end(session, ended, status=status_of(error or ended.error))

    def _ended(self, error: BaseException | None) -> running.Ended:
        roots = self._session.roots
        return (roots[0].ended if roots else None) or running.Ended(error=error)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if self._run is None:
            raise UsageError("the run is still being recorded", hint="read it after the block")
        return getattr(self._run, name)
