"""Where a call happens: the session and the lane of the code that runs right now.

A lane says where work was spawned, never when it ran. Scopes travel in a context variable; a job
that an executor runs under a context copied by somebody else finds its own scope on its thread.

A scope belongs to one piece of work, its owner. Where other work finds it in its context (what an
event loop calls back, a thread that nobody saw begin), that runs beside the owner, and when is
chance: it gets a lane of its own that says so.
"""

from __future__ import annotations

import asyncio
import copy
import functools
import itertools
import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from langchain_core.runnables.config import var_child_runnable_config

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workbench.capture.nodes import Visit
    from workbench.capture.session import Session
    from workbench.schema import Order

    # a thread and, in it, a task
    Work = tuple[int, int]


class Place:
    """A lane of one visit: its path, the LangGraph visit it lies in, and how many it spawned."""

    __slots__ = (
        "__dict__",
        "__weakref__",
        "_base",
        "inside",
        "namespace",
        "order",
        "outer",
        "path",
        "step_id",
        "unsaid",
    )

    def __init__(
        self,
        path: str,
        *,
        namespace: str = "",
        step_id: str | None = None,
        order: Order = "declared",
    ) -> None:
        self.path = self._base = path
        self.namespace = namespace
        self.step_id = step_id
        self.order: Order = order
        self.outer: Place | None = None  # of a graph's node: where the graph was called
        self.unsaid: Visit | None = None  # a node nothing was written of yet
        # the scope of what a call made here does, which is no call of its own
        self.inside: Scope | None = None

    @property
    def has_spawned(self) -> bool:
        """Whether work was spawned here, or put into a queue."""
        return bool(self.__dict__)

    def child(self) -> Place:
        """Return the lane of the next piece of work that is spawned here."""
        return self._below(f"{next(self._count('spawned'))}")

    def handed_over(self) -> Place:
        """Return the lane of the next piece of work that is put into a queue here."""
        return self._below(f">{next(self._count('handed'))}")

    def _count(self, what: str) -> Iterator[int]:
        """Return a count that is begun once, whichever thread asks first; most are never begun."""
        counts: Iterator[int] = self.__dict__.setdefault(what, itertools.count(1))
        return counts

    def _below(self, segment: str) -> Place:
        return Place(
            f"{self.path}/{segment}",
            namespace=self.namespace,
            step_id=self.step_id,
            order=self.order,
        )

    def restart(self) -> None:
        """Count what is spawned here from the beginning: a node that waited runs again."""
        self.__dict__.clear()

    def within(self, step_id: str) -> Place:
        """Return the same lane inside a step; what is spawned there is counted with the rest."""
        self._count("spawned")
        self._count("handed")
        place = copy.copy(self)
        place.step_id, place.inside = step_id, None
        return place

    def has_below(self, other: Place) -> bool:
        """Say whether another lane is this one's own work, or that of what it works on."""
        return other.path.startswith((f"{self._base}/", f"{self.path}/"))

    def begin_in(self, other: Place) -> None:
        """Be another lane from now on, as a forked process is."""
        self._base = other.path
        self.go_on_in(other)

    def go_on_in(self, other: Place) -> None:
        """Work in another lane from now on: nothing was called or spawned there yet."""
        self.path, self.order, self.step_id = other.path, other.order, other.step_id
        self.restart()


class Scope:
    """A session, a place in it, and whether a recorded call is being made.

    ``owner`` is the work it was made for; None where nobody asks.
    """

    __slots__ = ("in_call", "in_root", "inner_of", "owner", "place", "session")

    def __init__(
        self, session: Session, place: Place, *, in_call: bool = False, in_root: bool = False
    ) -> None:
        self.session = session
        self.place = place
        self.in_call = in_call
        self.in_root = in_root
        self.owner: Work | None = None
        # the context variable's value where this scope was made for another thread
        self.inner_of: Scope | None = None


_scope: ContextVar[Scope | None] = ContextVar("workbench_scope", default=None)
_NOBODY: Work = (-1, -1)


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


raw = _scope.get
"""Return the context variable's own value, which copies of the context share."""

put = _scope.set
"""Make a scope the current one: the one step of a change that no interrupt (Ctrl-C) divides.

Whoever enters a scope reads `raw` first, puts within a ``try`` and puts back in its ``finally``:
one that is left behind would take every later call for a part of a call that is over.
"""


def who() -> Work:
    """Return what tells pieces of work apart that run at once: the task, else the thread.

    What an event loop calls outside every task is told apart from the code that runs the loop.
    """
    loop = asyncio._get_running_loop()  # noqa: SLF001 - the one way to ask that costs nothing
    if loop is None:
        return threading.get_ident(), 0
    task = asyncio.current_task(loop)
    return (threading.get_ident(), -1) if task is None else (0, id(task))


def inhabit(scope: Scope) -> None:
    """Make a scope the current one, and that of the work that runs right now."""
    scope.owner = who()
    put(scope)


def adopt() -> None:
    """Go on in the current scope with other work, while its owner waits."""
    scope = _scope.get()
    if scope is not None:
        inhabit(Scope(scope.session, scope.place, in_call=scope.in_call, in_root=scope.in_root))


def run_carried(scope: Scope, job: Any, /, *args: Any, **kwargs: Any) -> Any:
    """Run a job of another thread in the scope that was made for it where it was submitted."""
    former = _carried.scope
    _carried.scope = scope
    scope.owner = scope.owner or who()
    try:
        return job(*args, **kwargs)
    finally:
        _carried.scope = former


def carried_to_job(scope: Scope, place: Place) -> Scope:
    """Return a scope for a job that is handed to another thread now."""
    job = Scope(scope.session, place, in_call=scope.in_call, in_root=scope.in_root)
    job.inner_of = raw()
    return job


def carried_beside(scope: Scope) -> Scope:
    """Return a scope for what a thread of a pool does besides its jobs: when is chance."""
    job = Scope(scope.session, scope.place, in_call=scope.in_call, in_root=scope.in_root)
    job.inner_of, job.owner = job, _NOBODY
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


def reader(asked_in: Scope) -> Scope:
    """Return the scope of the code that reads a stream that was asked for in a scope."""
    now = current()
    if now is None or now.in_call or now.session is not asked_in.session:
        return asked_in
    return now


def standing(scope: Scope) -> Place:
    """Return the lane of the running code, which may not be the work that the scope is for."""
    place = place_of(scope)
    work = who()
    return place if scope.in_call or scope.owner == work else beside(scope, place, work)


def beside(scope: Scope, place: Place, work: Work) -> Place:
    """Return the lane of work that found the scope of other work in its context."""
    if scope.owner is None or place is not scope.place or _waited_for():
        return place
    return scope.session.stray(place, work)


def _waited_for() -> bool:
    """Say whether this thread works for a task that does nothing meanwhile."""
    return type(threading.current_thread()).__module__.startswith("anyio")


class Visits:
    """The lane of every visit of a graph node, by the namespace LangGraph gave that visit.

    A lane is known for as long as somebody works in it: a run may visit nodes without end.
    """

    def __init__(self) -> None:
        self.waiting: dict[str, Visit] = {}  # for a person
        self._entered: dict[str, Place] = {}
        self._others: WeakValueDictionary[str, Place] = WeakValueDictionary()
        # keys of the nodes' results that this session saw put into a cache
        self.kept: set[tuple[Any, str]] = set()
        self._threads: set[tuple[int, str]] = set()
        self.lock = threading.RLock()  # an agent's alarm may come in the middle

    def is_new_thread(self, saver: object, thread: str) -> bool:
        """Say whether a thread of a graph's state is met for the first time."""
        with self.lock:
            known = (id(saver), thread) in self._threads
            self._threads.add((id(saver), thread))
        return not known

    def place(self, outer: Place, namespace: str, metadata: dict[str, Any]) -> Place:
        """Return the lane of a visit; ``outer`` is the lane of the code the graph was called in."""
        with self.lock:
            found = self._entered.get(namespace) or self._others.get(namespace)
            if found is None:
                found = self._others[namespace] = self._placed(outer, namespace, metadata)
            return found

    def enter(self, outer: Place, namespace: str, metadata: dict[str, Any]) -> Place:
        """Return the lane of a visit that begins, or goes on: it is known until it is left."""
        with self.lock:
            found = self._entered.get(namespace) or self._others.get(namespace)
            if found is None:
                found = self._placed(outer, namespace, metadata)
            self._entered[namespace] = found
            return found

    def leave(self, place: Place) -> None:
        """End a visit; what it spawned may go on, and finds its lane for as long as it does."""
        with self.lock:
            if self._entered.pop(place.namespace, None) is not None and place.has_spawned:
                self._others[place.namespace] = place

    def _placed(self, outer: Place, namespace: str, metadata: dict[str, Any]) -> Place:
        head, _, last = namespace.rpartition("|")
        while head and head.rpartition("|")[2].isdigit():
            # LangGraph numbers repeated calls of a subgraph in one node; they follow one another
            head = head.rpartition("|")[0]
        parent = outer
        if head and head != outer.namespace:
            parent = self.place(outer, head, {})
        segment = _segment(last.partition(":")[0])
        index = _push_index(metadata.get("langgraph_path"))
        if index is not None:
            segment = f"{segment}[{index}]"
        place = Place(f"{parent.path}/{segment}", namespace=namespace)
        place.outer = parent
        return place


@functools.lru_cache(1024)
def _segment(node: str) -> str:
    return f"'{node}'" if node.isdigit() or node[:1] in "?'>" else node.replace("/", "%2F")


def _push_index(path: Any) -> int | None:
    """Return the number a fan-out gave a task: its first integer after the word push."""
    if not isinstance(path, (tuple, list)) or not path or path[0] != "__pregel_push":
        return None
    return next((part for part in path[1:] if type(part) is int), None)
