"""Where a call happens: the session and the lane of the code that runs right now.

A lane says where work was spawned, never when it ran. Scopes travel in a context variable; a job
that an executor runs under a context copied by somebody else finds its own scope on its thread.
"""

from __future__ import annotations

import copy
import itertools
import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from langchain_core.runnables.config import var_child_runnable_config

if TYPE_CHECKING:
    from workbench.capture.nodes import Visit
    from workbench.capture.session import Session


class Place:
    """A lane of one visit: its path, the LangGraph visit it lies in, and how many it spawned."""

    __slots__ = ("_children", "inside", "namespace", "outer", "path", "step_id", "unsaid")

    def __init__(self, path: str, *, namespace: str = "", step_id: str | None = None) -> None:
        self.path = path
        self.namespace = namespace
        self.step_id = step_id
        self.outer: Place | None = None  # of a graph's node: where the graph was called
        self.unsaid: Visit | None = None  # a node nothing was written of yet
        # the scope of what a call made here does, which is no call of its own
        self.inside: Scope | None = None
        self._children = itertools.count(1)

    def child(self) -> Place:
        """Return the lane of the next piece of work that is spawned here."""
        number = next(self._children)
        return Place(f"{self.path}/{number}", namespace=self.namespace, step_id=self.step_id)

    def restart(self) -> None:
        """Count what is spawned here from the beginning: a node that waited runs again."""
        self._children = itertools.count(1)

    def within(self, step_id: str) -> Place:
        """Return the same lane inside a step; what is spawned there is counted with the rest."""
        place = copy.copy(self)
        place.step_id, place.inside = step_id, None
        return place


class Scope:
    """A session, a place in it, and whether a recorded call is being made."""

    __slots__ = ("in_call", "in_root", "inner_of", "place", "session")

    def __init__(
        self, session: Session, place: Place, *, in_call: bool = False, in_root: bool = False
    ) -> None:
        self.session = session
        self.place = place
        self.in_call = in_call
        self.in_root = in_root
        # the context variable's value where this scope was made for another thread
        self.inner_of: Scope | None = None


_scope: ContextVar[Scope | None] = ContextVar("workbench_scope", default=None)


class _Carried(threading.local):
    scope: Scope | None = None


_carried = _Carried()


def current() -> Scope | None:
    """Return the scope of the running code, or None outside every session."""
    scope = _scope.get()
    carried = _carried.scope
    if carried is not None and (scope is None or scope is carried.inner_of):
        scope = carried
    if scope is None or scope.session.closed:
        return None
    return scope


def raw() -> Scope | None:
    """Return the context variable's own value, which copies of the context share."""
    return _scope.get()


def enter(scope: Scope | None) -> Scope | None:
    """Make a scope the current one and return the context variable's former value."""
    former = _scope.get()
    _scope.set(scope)
    return former


def run_carried(scope: Scope, job: Any, /, *args: Any, **kwargs: Any) -> Any:
    """Run a job of another thread in the scope that was made for it where it was submitted."""
    former = _carried.scope
    _carried.scope = scope
    try:
        return job(*args, **kwargs)
    finally:
        _carried.scope = former


def carried_to_job(scope: Scope, place: Place) -> Scope:
    """Return a scope for a job that is handed to another thread now."""
    job = Scope(scope.session, place, in_call=scope.in_call, in_root=scope.in_root)
    job.inner_of = raw()
    return job


def place_of(scope: Scope) -> Place:
    """Return the lane of the running code: the scope's own, or that of the graph node inside it."""
    config = var_child_runnable_config.get()
    metadata = config.get("metadata") if config else None
    namespace = metadata.get("langgraph_checkpoint_ns") if metadata else None
    if not namespace or namespace == scope.place.namespace:
        return scope.place
    place = scope.session.visits.place(scope.place, namespace, metadata or {})
    if place.unsaid is not None:
        place.unsaid.say()
    return place


class Visits:
    """The lane of every visit of a graph node, by the namespace LangGraph gave that visit."""

    def __init__(self) -> None:
        self.waiting: dict[str, Visit] = {}  # for a person
        self._places: dict[str, Place] = {}
        self._threads: set[tuple[int, str]] = set()
        self._lock = threading.Lock()

    def is_new_thread(self, saver: object, thread: str) -> bool:
        """Say whether a thread of a graph's state is met for the first time."""
        with self._lock:
            known = (id(saver), thread) in self._threads
            self._threads.add((id(saver), thread))
        return not known

    def place(self, outer: Place, namespace: str, metadata: dict[str, Any]) -> Place:
        """Return the lane of a visit; ``outer`` is the lane of the code the graph was called in."""
        with self._lock:
            return self._placed(outer, namespace, metadata)

    def _placed(self, outer: Place, namespace: str, metadata: dict[str, Any]) -> Place:
        known = self._places.get(namespace)
        if known is not None:
            return known
        head, _, last = namespace.rpartition("|")
        while head and head.rpartition("|")[2].isdigit():
            # LangGraph numbers repeated calls of a subgraph in one node; they follow one another
            head = head.rpartition("|")[0]
        parent = outer
        if head and head != outer.namespace:
            parent = self._placed(outer, head, {})
        segment = _segment(last.partition(":")[0], metadata.get("langgraph_path"))
        place = Place(f"{parent.path}/{segment}", namespace=namespace)
        place.outer = parent
        self._places[namespace] = place
        return place


def _segment(node: str, path: Any) -> str:
    name = f"'{node}'" if node.isdigit() or node[:1] in "?'" else node.replace("/", "%2F")
    index = _push_index(path)
    return name if index is None else f"{name}[{index}]"


def _push_index(path: Any) -> int | None:
    """Return the number a fan-out gave a task: its first integer after the word push."""
    if not isinstance(path, (tuple, list)) or not path or path[0] != "__pregel_push":
        return None
    return next((part for part in path[1:] if type(part) is int), None)
