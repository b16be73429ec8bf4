"""Inside ``with wb.record(…)`` the outermost Runnable, or decorated function, is the run's root."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, TypeVar

from langchain_core.runnables import Runnable

from workbench.capture import agents, running
from workbench.capture import scope as scopes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from workbench.capture.block import BlockSession

T = TypeVar("T")


def _watching() -> tuple[scopes.Scope, BlockSession] | None:
    """Return the scope and session that wait for a root, or None."""
    here = scopes.current()
    if here is None or here.in_call or here.in_root:
        return None
    session: Any = here.session
    return (here, session) if session.watches_roots else None


def rooted(method: agents.Entry) -> Callable[[Any], Any]:
    """Return a wrapper for one way of calling a root; every part of a graph comes by here."""
    raw = scopes.raw

    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        if method == "call":
            return _plain(original)
        build = {
            "invoke": _called,
            "ainvoke": _awaited,
            "stream": _streamed,
            "astream": _astreamed,
        }[method]

        @functools.wraps(original)
        def entry(self: Any, *args: Any, **kwargs: Any) -> Any:
            here = raw()
            if here is not None and here.in_root:
                return original(self, *args, **kwargs)
            watching = _watching()
            if watching is None:
                return original(self, *args, **kwargs)
            call = _root_call(method, *args, **kwargs)
            opened = watching[1].open_root(agents.find_agent(self), call)
            return build(opened, lambda: original(self, *args, **kwargs))

        return entry

    return wrap


def _root_call(
    method: agents.Entry,
    input: Any = None,  # noqa: A002 - LangChain's own word
    config: Any = None,
    *,
    stream_mode: Any = None,
    **_: Any,
) -> agents.RootCall:
    return agents.RootCall(
        method=method, input=input, config=dict(config or {}), stream_mode=stream_mode
    )


def _plain(function: Callable[..., Any]) -> Callable[..., Any]:
    is_async = inspect.iscoroutinefunction(function)

    @functools.wraps(function)
    def entry(*args: Any, **kwargs: Any) -> Any:
        watching = _watching()
        if watching is None:
            return function(*args, **kwargs)
        call = _root_call("call", *args, **kwargs)
        opened = watching[1].open_root(agents.find_agent(entry), call)
        build = _awaited if is_async else _called
        return build(opened, lambda: function(*args, **kwargs))

    @functools.wraps(function)
    async def aentry(*args: Any, **kwargs: Any) -> Any:
        return await entry(*args, **kwargs)

    return aentry if is_async else entry


def entered(agent: Any, given: Any, make: Callable[[], T]) -> T:
    """Go through an agent that is a callable object, as the root where one is waited for."""
    watching = _watching()
    if watching is None:
        return make()
    call = _root_call("call", given)
    output: T = _called(watching[1].open_root(agents.find_agent(agent), call), make)
    return output


def _called(opened: Any, make: Callable[[], Any]) -> Any:
    former = scopes.raw()
    try:
        scopes.inhabit(opened.scope)
        value = make()
    except BaseException as error:
        opened.end(running.Ended(error=error))
        raise
    finally:
        scopes.put(former)
    opened.end(running.Ended(output=value))
    return value


async def _awaited(opened: Any, make: Callable[[], Any]) -> Any:
    former = scopes.raw()
    try:
        scopes.inhabit(opened.scope)
        value = await make()
    except BaseException as error:
        opened.end(running.Ended(error=error))
        raise
    finally:
        scopes.put(former)
    opened.end(running.Ended(output=value))
    return value


def _streamed(opened: Any, make: Callable[[], Any]) -> Iterator[Any]:
    ended, live = running.Ended(), None
    try:
        while True:
            former = scopes.raw()
            try:
                scopes.inhabit(opened.scope)
                live = iter(make()) if live is None else live
                chunk = next(live)
            except StopIteration:
                break
            finally:
                scopes.put(former)
            ended.chunks.append(chunk)
            yield chunk
    except BaseException as error:
        opened.end(running.Ended(error=error, chunks=ended.chunks))
        raise
    ended.output = opened.final(ended.chunks)
    opened.end(ended)


async def _astreamed(opened: Any, make: Callable[[], Any]) -> AsyncIterator[Any]:
    ended, live = running.Ended(), None
    try:
        while True:
            former = scopes.raw()
            try:
                scopes.inhabit(opened.scope)
                live = aiter(make()) if live is None else live
                chunk = await anext(live)
            except StopAsyncIteration:
                break
            finally:
                scopes.put(former)
            ended.chunks.append(chunk)
            yield chunk
    except BaseException as error:
        opened.end(running.Ended(error=error, chunks=ended.chunks))
        raise
    ended.output = opened.final(ended.chunks)
    opened.end(ended)


ENTRIES: dict[type, dict[str, Callable[[Any], Any]]] = {
    Runnable: {
        "invoke": rooted("invoke"),
        "ainvoke": rooted("ainvoke"),
        "stream": rooted("stream"),
        "astream": rooted("astream"),
    }
}
