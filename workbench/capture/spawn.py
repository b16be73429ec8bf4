"""Work that runs beside its parent gets a lane of its own when it is created.

Who created it decides: the agent's own code adds a segment, a framework's plumbing none, and a
framework's fan-out (a batch, parallel branches, the tool calls of one message) a segment again.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import sys
import threading
import types
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Literal

from workbench.capture import scope as scopes

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

Spawned = Literal["own", "none"]

_MECHANISM = ("concurrent.futures", "asyncio", "threading", "contextvars", "functools", "anyio")
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


def _child_of(scope: scopes.Scope, frame: FrameType | None) -> scopes.Place:
    place = scopes.place_of(scope)
    return place.child() if not scope.in_call and _spawner(frame) == "own" else place


def _submitting(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def submit(self: Any, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        scope = scopes.current()
        if scope is None:
            return original(self, fn, *args, **kwargs)
        place = _child_of(scope, sys._getframe(1))  # noqa: SLF001 - the creator is what a lane is named by
        job = scopes.carried_to_job(scope, place)
        future = original(self, functools.partial(scopes.run_carried, job, fn), *args, **kwargs)
        scope.session.handed_over(future, place.path)
        return future

    return submit


def _starting(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def start(self: threading.Thread) -> Any:
        scope = scopes.current()
        frame = sys._getframe(1)  # noqa: SLF001 - see above
        if scope is not None and not _within(_module(frame), _OWN_THREADS):
            job = scopes.carried_to_job(scope, _child_of(scope, frame))
            self.run = functools.partial(scopes.run_carried, job, self.run)  # type: ignore[method-assign] # a thread carries its scope where every subclass's run is called
        return original(self)

    return start


def _creating(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def create_task(self: Any, coro: Any, *, context: Any = None, **kwargs: Any) -> Any:
        scope = scopes.current()
        if scope is None:
            return original(self, coro, context=context, **kwargs)
        place = _child_of(scope, sys._getframe(1))  # noqa: SLF001 - see above
        moved = place is not scope.place or scope is not scopes.raw()
        child = scopes.Scope(scope.session, place, in_call=scope.in_call, in_root=scope.in_root)
        if context is None:
            context = contextvars.copy_context()
            if moved:
                context.run(scopes.enter, child)
        elif moved and inspect.iscoroutine(coro):
            # a context that its creator chose may be shared: the scope is set step by step
            coro = _stepping(coro, child)
        return original(self, coro, context=context, **kwargs)

    return create_task


async def _stepping(coro: Any, scope: scopes.Scope) -> Any:
    return await _steps(coro, scope)


@types.coroutine
def _steps(coro: Any, scope: scopes.Scope | None) -> Any:
    """Drive a coroutine in a scope that no other task of its context sees."""
    step: Callable[[], Any] = functools.partial(coro.send, None)
    while True:
        former = scopes.enter(scope)
        try:
            waiting_for = step()
        except StopIteration as done:
            return done.value
        finally:
            scope = scopes.enter(former)
        try:
            step = functools.partial(coro.send, (yield waiting_for))
        except BaseException as error:  # noqa: BLE001 - whatever is thrown in belongs to the coroutine
            step = functools.partial(coro.throw, error)


def targets() -> list[tuple[Any, str, Callable[[Any], Any]]]:
    """Return what is replaced while a session runs: (owner, attribute, wrapper)."""
    return [
        (ThreadPoolExecutor, "submit", _submitting),
        (threading.Thread, "start", _starting),
        (asyncio.BaseEventLoop, "create_task", _creating),
    ]
