"""Replayed graphs write to a fresh in-memory saver and cache; the graph's own are not touched."""

from __future__ import annotations

import functools
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from langgraph.cache.base import BaseCache
from langgraph.cache.memory import InMemoryCache
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.pregel import Pregel

from workbench.capture import scope
from workbench.capture.earlier import put_back

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_METHODS = (
    "stream",
    "astream",
    "get_state",
    "aget_state",
    "get_state_history",
    "aget_state_history",
    "update_state",
    "aupdate_state",
    "bulk_update_state",
    "abulk_update_state",
)
_lock = threading.Lock()
_users = 0
_originals: dict[str, Any] = {}


def _fresh(graph: Any) -> Any:
    """Return the graph with the session's own saver in place of the one it was compiled with."""
    here = scope.current()
    if here is None or not here.session.replaying:
        return graph
    fresh = {}
    saver, cache = getattr(graph, "checkpointer", None), getattr(graph, "cache", None)
    if isinstance(saver, BaseCheckpointSaver):
        fresh["checkpointer"] = here.session.saver_for(saver)
    if isinstance(cache, BaseCache):
        fresh["cache"] = here.session.cache_for(cache)
    unlike = {name: own for name, own in fresh.items() if own is not getattr(graph, name)}
    return graph.copy(unlike) if unlike else graph


def cache_for(known: dict[int, Any], cache: Any) -> Any:
    """Return the fresh cache that stands for a graph's own, in which nothing was kept before."""
    if any(cache is fresh for _, fresh in known.values()):
        return cache
    if id(cache) not in known:
        known[id(cache)] = (cache, InMemoryCache(serde=cache.serde))
    return known[id(cache)][1]


def saver_for(known: dict[int, Any], saver: Any, *, earlier: Iterable[dict[str, Any]] = ()) -> Any:
    """Return the fresh saver that stands for a recorded one, with what its threads held before."""
    if any(saver is fresh for _, fresh in known.values()):
        return saver
    if id(saver) not in known:
        fresh: InMemorySaver = InMemorySaver(serde=saver.serde)
        for form in earlier:
            put_back(fresh, form)
        known[id(saver)] = (saver, fresh)
    return known[id(saver)][1]


def _on_fresh(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return original(_fresh(self), *args, **kwargs)

    return method


@contextmanager
def replaced() -> Iterator[None]:
    """Give the graphs of replaying sessions fresh savers until the block ends."""
    _change(+1)
    try:
        yield
    finally:
        _change(-1)


def _change(by: int) -> None:
    global _users  # noqa: PLW0603 - one class for all sessions
    with _lock:
        _users += by
        if _users == 1 and by > 0:
            for name in _METHODS:
                _originals[name] = vars(Pregel)[name]
                setattr(Pregel, name, _on_fresh(_originals[name]))
        elif _users == 0:
            for name, original in _originals.items():
                setattr(Pregel, name, original)
            _originals.clear()
