"""Where a graph is entered and left: what its thread held, that it goes on, and that it waits."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from langchain_core.runnables.config import var_child_runnable_config
from langgraph._internal._constants import CONFIG_KEY_SCRATCHPAD
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.pregel import Pregel
from langgraph.pregel._loop import AsyncPregelLoop, PregelLoop, SyncPregelLoop
from langgraph.types import Command

from workbench import hashing
from workbench.capture import earlier, humans
from workbench.capture import scope as scopes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


def _outermost() -> scopes.Scope | None:
    """Return the scope that a graph is entered in, or None inside another graph's node."""
    here = scopes.current()
    ambient: Any = var_child_runnable_config.get() if here is not None else None
    inside = ambient and CONFIG_KEY_SCRATCHPAD in (ambient.get("configurable") or {})
    return None if inside else here


def _configurable(graph: Any, config: Any) -> dict[str, Any]:
    bound = (getattr(graph, "config", None) or {}).get("configurable") or {}
    return {**bound, **((config or {}).get("configurable") or {})}


def _thread(here: scopes.Scope, graph: Any, configurable: dict[str, Any]) -> earlier.Thread | None:
    """Return the thread a graph goes on in, where the session has not seen it yet."""
    if configurable.get("thread_id") is None:
        return None
    saver = getattr(graph, "checkpointer", None)
    if not isinstance(saver, BaseCheckpointSaver):
        return None
    saver = here.session.saver_for(saver)
    names = ("thread_id", "checkpoint_id")
    thread: dict[str, Any] = {k: v for k, v in configurable.items() if k in names}
    if not here.session.visits.is_new_thread(saver, str(thread["thread_id"])):
        return None
    return earlier.Thread(here.session, graph, saver, thread)


def _given(here: scopes.Scope, given: Any, configurable: dict[str, Any]) -> Any:
    if given is not None and not isinstance(given, Command):
        return given
    return humans.resumed(here, given, configurable.get("thread_id"))


def _streaming(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def stream(self: Any, input: Any, config: Any = None, **kwargs: Any) -> Any:  # noqa: A002 - LangGraph's own word
        here = _outermost()
        if here is None:
            return original(self, input, config, **kwargs)
        configurable = _configurable(self, config)
        thread = _thread(here, self, configurable)
        if thread is not None:
            thread.keep()
        return original(self, _given(here, input, configurable), config, **kwargs)

    return stream


def _astreaming(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def astream(self: Any, input: Any, config: Any = None, **kwargs: Any) -> Any:  # noqa: A002 - see above
        here = _outermost()
        if here is None:
            return original(self, input, config, **kwargs)
        configurable = _configurable(self, config)
        thread = _thread(here, self, configurable)
        live = original(self, _given(here, input, configurable), config, **kwargs)
        return live if thread is None else _kept_before(thread, live)

    return astream


async def _kept_before(thread: earlier.Thread, live: Any) -> AsyncIterator[Any]:
    await thread.akeep()
    try:
        async for chunk in live:
            yield chunk
    finally:
        await live.aclose()


def _telling(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def push(self: Any, kind: str, **kwargs: Any) -> Any:
        here = scopes.current()
        if kind == "interrupt" and here is not None:
            body = {} if kwargs.get("interrupts") else {"value": _breakpoint(self)}
            here.session.journal.put(
                "interrupted", payload=hashing.dumps(body), lane=here.place.path
            )
        return original(self, kind, **kwargs)

    return push


def _cached(tasks: Any) -> Any:
    """Tell of nodes whose results were kept before the run: a replay could not have them."""
    here = scopes.current() if tasks else None
    if here is None:
        return tasks
    for task in tasks:
        if task.cache_key[:2] not in here.session.visits.kept:
            reason = "its result was in the graph's cache before the run"
            here.session.gap("node", task.name, reason=reason)
    return tasks


def _matching(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def match(self: Any) -> Any:
        return _cached(original(self))

    return match


def _amatching(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    async def match(self: Any) -> Any:
        return _cached(await original(self))

    return match


def _breakpoint(loop: Any) -> dict[str, Any]:
    """Return where a graph was told to stop, and before what."""
    names = sorted({str(task.name) for task in (getattr(loop, "tasks", None) or {}).values()})
    return {"at": str(loop.status), "nodes": names}


def targets() -> list[tuple[Any, str, Callable[[Any], Any]]]:
    """Return what is replaced while a session runs: (owner, attribute, wrapper)."""
    return [
        (Pregel, "stream", _streaming),
        (Pregel, "astream", _astreaming),
        (PregelLoop, "_push_graph_lifecycle_event", _telling),
        (SyncPregelLoop, "match_cached_writes", _matching),
        (AsyncPregelLoop, "amatch_cached_writes", _amatching),
    ]
