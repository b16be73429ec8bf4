"""Work that goes through a queue belongs to whoever put it there, not to whoever came to take it.

Which worker takes what is chance; what was put, and in which order, is not. So an item takes a lane
of its own where it is put, and a worker that takes it goes on in that lane until it takes the next.
Code that takes what its own work gave back stays where it is.
"""

from __future__ import annotations

import asyncio
import functools
import queue
import sys
from collections import defaultdict, deque
from typing import TYPE_CHECKING, Any

from workbench.capture import scope as scopes

if TYPE_CHECKING:
    from collections.abc import Callable

    from workbench.capture.session import Session

    # by an item's identity, in the order in which it was put
    Handed = defaultdict[int, deque[tuple[Session, scopes.Place]]]

_HANDED = "_workbench_handed"
_QUEUES = ("queue", "asyncio")
# what these hand over is their own affair
_PLUMBING = ("langgraph", "langchain_core", "langsmith", "logging", "concurrent", "anyio")


def _putting(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def put(self: Any, item: Any) -> Any:
        scope = scopes.current()
        if scope is not None and not scope.in_call and _by_the_agent():
            place = scopes.standing(scope).handed_over()
            handed: Handed = vars(self).setdefault(_HANDED, defaultdict(deque))
            handed[id(item)].append((scope.session, place))
        return original(self, item)

    return put


def _by_the_agent() -> bool:
    frame: Any = sys._getframe(2)  # noqa: SLF001 - whose work it is decides
    while frame is not None:
        package = str(frame.f_globals.get("__name__") or "").partition(".")[0]
        if package not in _QUEUES:
            return package not in _PLUMBING
        frame = frame.f_back
    return False


def _getting(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def get(self: Any) -> Any:
        item = original(self)
        handed: Handed | None = vars(self).get(_HANDED)
        if handed:
            _took(handed, item)
        return item

    return get


def _took(handed: Handed, item: Any) -> None:
    waiting = handed.get(id(item))
    if not waiting:
        return
    session, place = waiting.popleft()
    if not waiting:
        del handed[id(item)]
    scope = scopes.current()
    if scope is None or scope.in_call or scope.session is not session:
        return
    here = scopes.standing(scope)
    if here is scope.place and not here.has_below(place):
        here.go_on_in(place)


def targets() -> list[tuple[Any, str, Callable[[Any], Any]]]:
    """Return what is replaced while a session runs: (owner, attribute, wrapper)."""
    kinds = [
        *(queue.Queue, queue.PriorityQueue, queue.LifoQueue),
        *(asyncio.Queue, asyncio.PriorityQueue, asyncio.LifoQueue),
    ]
    wrappers = {"_put": _putting, "_get": _getting}
    return [(kind, name, wrap) for kind in kinds for name, wrap in wrappers.items()]
