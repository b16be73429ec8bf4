"""A run and a lane are handed to a new process as a text, and it joins the run with that."""

from __future__ import annotations

import warnings
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self

import msgspec

from workbench.capture import children, intercept, scope
from workbench.capture.effects import Effects
from workbench.capture.record import RecordingWarning, tell
from workbench.capture.session import Session
from workbench.errors import WorkbenchError
from workbench.schema import RunHeader  # noqa: TC001 - msgspec reads it

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from workbench.capture.session import OnError
    from workbench.redaction import Wanted
    from workbench.schema import Effect
    from workbench.store.protocol import Store

VARIABLE = "WORKBENCH_CONTEXT"


class Handed(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a process is given to join a run; no key is ever in it."""

    workbench_context: int = 1
    run: RunHeader
    lane: str
    order: str = "declared"
    step_id: str | None = None
    address: str
    workspace: str | None = None


def context() -> str:
    """Return a text by which another process joins this run, in a lane of its own.

    Give it to the process in the environment variable ``WORKBENCH_CONTEXT``, or as an argument, and
    call `workbench.join` there. Each text is for one process. It names the run, the lane, the
    store's address and the workspace, and holds no key: that comes from the other process's own
    environment or home.

    Returns
    -------
    str
        Empty where nothing is recorded: outside a recording, inside a recorded call, in a replay,
        and where the store takes events from one process only (a ``capture_gap`` says so).

    Examples
    --------
    >>> import os, subprocess, workbench as wb
    >>> environment = os.environ | {"WORKBENCH_CONTEXT": wb.context()}
    >>> subprocess.run(["python", "child.py"], env=environment)  # doctest: +SKIP
    """
    here = scope.current()
    place = None if here is None or here.in_call else children.take_lane(here)
    if here is None or place is None:
        return ""
    here.session.handed_on.add(place.path)
    sink: Any = here.session.journal.sink
    told = sink.handed_on()
    handed = Handed(lane=place.path, order=place.order, step_id=place.step_id, **told)
    return msgspec.json.encode(handed).decode()


def read(text: str | None) -> Handed | None:
    """Return what a text hands over; None, and a warning, where it is none of ours."""
    if not text:
        return None
    try:
        handed = msgspec.json.decode(text, type=Handed)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        _warn(f"this process is not recorded: its context cannot be read ({error})")
        return None
    if handed.workbench_context != 1 or handed.run.run_id is None:
        _warn("this process is not recorded: its context is that of another version")
        return None
    return handed


class Joined:
    """A part of a run that another process ends; ``with`` it as with `workbench.record`."""

    def __init__(
        self,
        handed: Handed | None,
        open_store: Callable[[Handed], Store],
        *,
        effects: Mapping[str, Effect] | None,
        on_error: OnError,
        redact: Wanted | None,
    ) -> None:
        self._redact = redact
        self._handed, self._open_store = handed, open_store
        self._effects, self._on_error = effects, on_error
        self._stack = ExitStack()
        self._session: Session | None = None
        self.run_id = "" if handed is None else str(handed.run.run_id)

    def __enter__(self) -> Self:
        if self._handed is not None:
            try:
                self._begin(self._handed)
            except WorkbenchError as error:
                if self._on_error == "closed":
                    raise
                _warn(f"this process is not recorded: {error}")
        return self

    def _begin(self, handed: Handed) -> None:
        store: Any = self._open_store(handed)
        self._stack.callback(store.close)
        sink = store.writer(handed.run)  # as the other process said it, to the letter
        journal = children.ChildJournal(sink, lane=handed.lane, redact=self._redact)
        session = Session(journal, effects=Effects(self._effects), on_error=self._on_error)
        order: Any = handed.order
        place = scope.Place(handed.lane, step_id=handed.step_id, order=order)
        self._session = session
        self._stack.enter_context(intercept.installed())
        self._stack.callback(scope.put, scope.raw())
        scope.inhabit(scope.Scope(session, place, in_root=True))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        session = self._session
        if session is not None:
            session.closed = True
            children.tell_of_children(session)
            session.journal.close()
        self._stack.close()
        if session is not None and not session.is_child:
            tell(session)
            if self._on_error == "closed" and error is None:
                session.journal.check()


def _warn(text: str) -> None:
    warnings.warn(text, RecordingWarning, stacklevel=4)
