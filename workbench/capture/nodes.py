"""Visits of graph nodes: each is a step of the run, and tells which keys of the state it changed.

The start of a step is written when something happens inside it: a node that only computes, of which
a graph may have many, is told by its end alone.
"""

from __future__ import annotations

import asyncio
import functools
from time import perf_counter
from typing import TYPE_CHECKING, Any

from langgraph.errors import GraphBubbleUp, GraphInterrupt
from langgraph.pregel import _runner

from workbench.capture import exceptions, values, written
from workbench.capture import scope as scopes

if TYPE_CHECKING:
    from collections.abc import Callable

    from workbench.capture.session import Session

# channels that LangGraph itself keeps: its edges, its joins, what it returns and sends
_INNER = ("__", "branch:", "join:")


class Visit:
    """A node that was entered and not left yet; its step, and where that lies."""

    __slots__ = ("lane", "name", "outer_id", "place", "session", "started", "step_id")

    def __init__(self, session: Session, place: scopes.Place, name: str) -> None:
        self.session = session
        self.place = place
        self.name = name
        self.lane = place.path
        self.outer_id = None if place.outer is None else place.outer.step_id
        self.step_id = place.step_id = session.journal.step_id()
        place.unsaid = self
        self.started = perf_counter()

    def say(self) -> None:
        """Write the start of the step, and of those it lies in, unless they are written."""
        with self.session.lock:
            if self.place.unsaid is not self:
                return
            self.place.unsaid = None
        outer = self.place.outer
        if outer is not None and outer.unsaid is not None:
            outer.unsaid.say()
        self.session.journal.take(written.visit_begun, self)


def _entered(task: Any) -> Visit | None:
    """Begin the step of a node, or go on with it where the node waited for a person."""
    here = scopes.current()
    if here is None or here.in_call or task.name.startswith("__"):
        return None
    try:
        metadata = task.config["metadata"]
        namespace = metadata["langgraph_checkpoint_ns"]
        place = here.session.visits.enter(here.place, namespace, metadata)
    except Exception as error:  # noqa: BLE001 - capture never breaks the agent
        here.session.gap("step", getattr(task, "name", None), reason=repr(error))
        return None
    waiting = here.session.visits.waiting.pop(namespace, None)
    if waiting is not None:
        place.restart()
        return waiting
    return Visit(here.session, place, task.name)


def _left(visit: Visit, task: Any) -> None:
    if visit.session.closed:
        return
    changed = [channel for channel, _ in task.writes if not channel.startswith(_INNER)]
    if changed:
        visit.session.journal.take(written.visit_changed, visit, changed)
    if task.cache_key is not None:
        visit.session.visits.kept.add(task.cache_key[:2])
    _end(visit, "ok")


def _raised(visit: Visit, error: BaseException) -> None:
    if visit.session.closed:
        return
    visit.say()
    if isinstance(error, GraphInterrupt):
        visit.session.visits.waiting[visit.place.namespace] = visit
    elif isinstance(error, GraphBubbleUp):
        _end(visit, "ok")
    else:
        record = exceptions.to_record(error, values.Freezer())
        stopped = isinstance(error, asyncio.CancelledError)
        _end(visit, "cancelled" if stopped else "error", {"exception": record})


def _end(visit: Visit, status: str, body: dict[str, Any] | None = None) -> None:
    took_ms = max(0.0, (perf_counter() - visit.started) * 1000)
    visit.place.unsaid = visit.place.inside = None
    visit.session.visits.leave(visit.place)
    visit.session.journal.take(written.visit_ended, visit, status, took_ms, body)


def give_up(session: Session) -> None:
    """End the steps that still wait for a person."""
    for visit in list(session.visits.waiting.values()):
        _end(visit, "cancelled")
    session.visits.waiting.clear()


def _visiting(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def run(task: Any, *args: Any, **kwargs: Any) -> Any:
        visit = _entered(task)
        if visit is None:
            return original(task, *args, **kwargs)
        try:
            value = original(task, *args, **kwargs)
        except BaseException as error:
            _raised(visit, error)
            raise
        _left(visit, task)
        return value

    return run


def _avisiting(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    async def run(task: Any, *args: Any, **kwargs: Any) -> Any:
        visit = _entered(task)
        if visit is None:
            return await original(task, *args, **kwargs)
        try:
            value = await original(task, *args, **kwargs)
        except BaseException as error:
            _raised(visit, error)
            raise
        _left(visit, task)
        return value

    return run


def targets() -> list[tuple[Any, str, Callable[[Any], Any]]]:
    """Return what is replaced while a session runs: (owner, attribute, wrapper)."""
    return [(_runner, "run_with_retry", _visiting), (_runner, "arun_with_retry", _avisiting)]
