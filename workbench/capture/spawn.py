"""Work that runs beside its parent gets a lane of its own when it is created.

Who created it decides: the agent's own code adds a segment, a framework's plumbing none, and a
framework's fan-out (a batch, parallel branches, the tool calls of one message) a segment again.
"""

from __future__ import annotations

import _thread
import asyncio
import contextvars
import functools
import inspect
import queue
import sys
import threading
from collections.abc import Coroutine, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal
from weakref import WeakKeyDictionary

from workbench.capture import scope as scopes

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context
    from types import FrameType

Spawned = Literal["own", "none"]

_MECHANISM = (
    *("concurrent.futures", "asyncio", "threading", "contextvars", "functools", "anyio"),
    "workbench.capture.spawn",
)
_MECHANISM_CODE = (
    "ContextThreadPoolExecutor.",
    "gather_with_concurrency",
    "gated_coro",
)
_FRAMEWORK = ("langgraph", "langchain_core", "langsmith")
_FAN_OUTS = frozenset(
    {
        "ToolNode._func",
        "ToolNode._afunc",
        "Runnable.batch",
        "Runnable.abatch",
        "Runnable.batch_as_completed",
        "Runnable.abatch_as_completed",
        "RunnableParallel.invoke",
        "RunnableParallel.ainvoke",
        "RunnableParallel._transform",
        "RunnableParallel._atransform",
    }
)
_ONE_BY_ONE = frozenset({"Runnable.abatch", "Runnable.abatch_as_completed"})
_OWN_THREADS = ("concurrent.futures", "asyncio", "anyio", "workbench.capture")
# awaiting with a time limit makes a task in some versions of Python and none in others
_BLOCKING = frozenset({"wait_for", "Runner.run", "run", "BaseEventLoop.run_until_complete"})


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__") or "")


def _within(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == name or module.startswith(name + ".") for name in packages)


def _spawner(frame: FrameType | None) -> Spawned:
    """Say whether the code that creates work gives it a segment of its own."""
    gathered = None
    while frame is not None:
        module, code = _module(frame), frame.f_code
        if _within(module, _MECHANISM):
            if module.startswith("asyncio") and code.co_qualname in _BLOCKING:
                return "none"
            if code.co_name == "gather":
                gathered = len(frame.f_locals.get("coros_or_futures", ()))
        elif _within(module, _FRAMEWORK):
            if not code.co_qualname.startswith(_MECHANISM_CODE):
                return _framework(code.co_qualname, gathered)
        else:
            return "own"
        frame = frame.f_back
    return "none"


def _framework(qualname: str, gathered: int | None) -> Spawned:
    name = qualname.partition(".<locals>")[0]
    if name not in _FAN_OUTS:
        return "none"
    # a batch of one runs in place when it is synchronous
    return "none" if gathered == 1 and name in _ONE_BY_ONE else "own"


# A streamed branch is asked for each of its pieces anew, by jobs that follow one another.
_branches: WeakKeyDictionary[Any, scopes.Place] = WeakKeyDictionary()
_NEXT_PIECE = "RunnableParallel._atransform.<locals>.get_next_chunk"


def _piece_asked(job: Any) -> Any:
    """Return the branch whose next piece a job fetches."""
    given: tuple[Any, ...] = ()
    while isinstance(job, functools.partial) and not job.keywords:
        job, given = job.func, (*job.args, *given)
        if given and isinstance(getattr(job, "__self__", None), contextvars.Context):
            job, given = given[0], given[1:]
    return given[0] if job is next and given and inspect.isgenerator(given[0]) else None


def _piece_of(work: Any) -> Any:
    """Return the branch whose next piece a coroutine waits for."""
    if getattr(work, "__qualname__", None) != _NEXT_PIECE or not inspect.iscoroutine(work):
        return None
    return None if work.cr_frame is None else work.cr_frame.f_locals.get("generator")


def _branch(scope: scopes.Scope, frame: FrameType | None, branch: Any) -> scopes.Place:
    if branch is None:
        return _child_of(scope, frame)
    known = _branches.get(branch)
    if known is None:
        known = _branches[branch] = _child_of(scope, frame)
    return known


def _child_of(scope: scopes.Scope, frame: FrameType | None) -> scopes.Place:
    if not scope.in_call and _spawner(frame) == "own":
        return scopes.standing(scope).child()
    # a framework's plumbing may run on any thread: a saver's writes when a node is done
    return scopes.place_of(scope)


# ---- threads


def _submitting(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def submit(self: Any, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        scope = scopes.current()
        if scope is None:
            return original(self, fn, *args, **kwargs)
        place = _branch(scope, sys._getframe(1), _piece_asked(fn))  # noqa: SLF001 - the creator is what a lane is named by
        job = scopes.carried_to_job(scope, place)
        future = original(self, functools.partial(scopes.run_carried, job, fn), *args, **kwargs)
        scope.session.handed_over(future, place.path)
        return future

    return submit


def _shutting_down(original: Callable[..., Any]) -> Callable[..., Any]:
    """Let a replay, which is faster than its recording, still run the jobs that had begun in it."""

    @functools.wraps(original)
    def shutdown(self: Any, wait: bool = True, *, cancel_futures: bool = False) -> Any:  # noqa: FBT001, FBT002 - the executor's own signature
        scope = scopes.current()
        if cancel_futures and scope is not None and scope.session.replaying:
            cancel_futures = False
            _cancel_waiting(self._work_queue)
        return original(self, wait, cancel_futures=cancel_futures)

    return shutdown


def _cancel_waiting(jobs: Any) -> None:
    kept = []
    with suppress(queue.Empty):
        while True:
            job = jobs.get_nowait()
            if job is not None and not job.future.cancel():
                kept.append(job)
    for job in kept:
        jobs.put(job)


def _starting(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def start(self: threading.Thread) -> Any:
        scope = scopes.current()
        if scope is None:
            return original(self)
        frame, own = sys._getframe(1), vars(self).get("run")  # noqa: SLF001 - see above
        if _within(_module(frame), _OWN_THREADS):
            job = scopes.carried_beside(scope)
        else:
            job = scopes.carried_to_job(scope, _child_of(scope, frame))
        self.run = functools.partial(scopes.run_carried, job, self.run)  # type: ignore[method-assign] # a thread carries its scope where every subclass's run is called
        try:
            return original(self)
        except BaseException:
            vars(self).pop("run")
            if own is not None:
                self.run = own  # type: ignore[method-assign] # as it was
            raise

    return start


def _beginning(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def start_new_thread(function: Any, args: Any, *kwargs: Any) -> Any:
        scope = scopes.current()
        if scope is not None:
            job = scopes.carried_to_job(scope, _child_of(scope, sys._getframe(1)))  # noqa: SLF001 - see above
            function = functools.partial(scopes.run_carried, job, function)
        return original(function, args, *kwargs)

    return start_new_thread


def _following(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def add_done_callback(self: Any, fn: Any) -> Any:
        scope, frame = scopes.current(), sys._getframe(1)  # noqa: SLF001 - see above
        if scope is not None and not _within(_module(frame), (*_MECHANISM, *_FRAMEWORK)):
            job = scopes.carried_to_job(scope, _child_of(scope, frame))
            fn = functools.partial(scopes.run_carried, job, fn)
        return original(self, fn)

    return add_done_callback


# ---- tasks


def _creating(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def create_task(self: Any, coro: Any, *, context: Context | None = None, **kwargs: Any) -> Any:
        scope = scopes.current()
        given = kwargs if context is None else {**kwargs, "context": context}
        if scope is None or isinstance(coro, _Carrying):
            return original(self, coro, **given)
        place = _branch(scope, sys._getframe(1), _piece_of(coro))  # noqa: SLF001 - see above
        own = place is not scopes.place_of(scope)
        child = _scope_in(scope, place)
        if context is None:
            task = _created_inside(child, functools.partial(original, self, coro, **given))
        elif not own and _entered(context, child):
            task = original(self, coro, **given)
        else:
            # a context that its creator chose may be shared
            task = original(self, _Carrying(coro, child), **given)
        child.owner = child.owner or (0, id(task))
        return task

    return create_task


def _scope_in(scope: scopes.Scope, place: scopes.Place) -> scopes.Scope:
    return scopes.Scope(scope.session, place, in_call=scope.in_call, in_root=scope.in_root)


def _created_inside(scope: scopes.Scope, create: Callable[[], Any]) -> Any:
    """Create a task whose context is copied with this scope in it."""
    former = scopes.raw()
    try:
        scopes.put(scope)
        return create()
    finally:
        scopes.put(former)


def _entered(context: Context, scope: scopes.Scope) -> bool:
    """Put a scope into a context that was made for one piece of work after the other."""
    try:
        context.run(scopes.put, scope)
    except RuntimeError:
        return False  # somebody runs in it right now
    return True


def _handing_over(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def run_coroutine_threadsafe(coro: Any, loop: Any) -> Any:
        scope = scopes.current()
        if scope is not None and asyncio.iscoroutine(coro):
            place = _child_of(scope, sys._getframe(1))  # noqa: SLF001 - see above
            coro = _Carrying(coro, _scope_in(scope, place))
        return original(coro, loop)

    return run_coroutine_threadsafe


def _completing(original: Callable[..., Any]) -> Callable[..., Any]:
    """Let tasks be created in the order in which they were given; a set has none."""

    def in_order(given: Any) -> Any:
        if scopes.current() is None or not isinstance(given, Iterable):
            return given
        return [asyncio.ensure_future(one) for one in dict.fromkeys(given)]

    @functools.wraps(original)
    def as_completed(fs: Any, **kwargs: Any) -> Any:
        if inspect.isgeneratorfunction(
            original
        ):  # until Python 3.12 nothing begins before it is read
            return (one for given in [fs] for one in original(in_order(given), **kwargs))
        return original(in_order(fs), **kwargs)

    return as_completed


class _Carrying(Coroutine[Any, Any, Any]):
    """A coroutine that takes each of its steps in a scope no other task of its context sees."""

    def __init__(self, coro: Any, scope: scopes.Scope) -> None:
        self._coro = coro
        self._scope: scopes.Scope | None = scope

    def __getattr__(self, name: str) -> Any:
        return getattr(self._coro, name)

    def __await__(self) -> Any:
        return (yield from self._coro.__await__())

    def send(self, value: Any) -> Any:
        """Take the next step."""
        return self._step(self._coro.send, value)

    def throw(self, *error: Any) -> Any:
        """Take it with an exception."""
        return self._step(self._coro.throw, *error)

    def close(self) -> None:
        """Take the last one."""
        self._step(self._coro.close)

    def _step(self, step: Callable[..., Any], *given: Any) -> Any:
        former = scopes.raw()
        try:
            scopes.put(self._scope)
            if self._scope is not None and self._scope.owner is None:
                self._scope.owner = scopes.who()
            return step(*given)
        finally:
            self._scope = scopes.put(former).old_value


def targets() -> list[tuple[Any, str, Callable[[Any], Any]]]:
    """Return what is replaced while a session runs: (owner, attribute, wrapper)."""
    uvloop = sys.modules.get("uvloop")
    loops = [asyncio.BaseEventLoop] if uvloop is None else [asyncio.BaseEventLoop, uvloop.Loop]
    return [
        (ThreadPoolExecutor, "submit", _submitting),
        (ThreadPoolExecutor, "shutdown", _shutting_down),
        (threading.Thread, "start", _starting),
        (_thread, "start_new_thread", _beginning),
        (Future, "add_done_callback", _following),
        *((loop, "create_task", _creating) for loop in loops),
        (asyncio, "run_coroutine_threadsafe", _handing_over),
        (asyncio.tasks, "run_coroutine_threadsafe", _handing_over),
        (asyncio, "as_completed", _completing),
        (asyncio.tasks, "as_completed", _completing),
    ]
