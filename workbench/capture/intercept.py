"""What is replaced while a session runs: public entries of models, tools and retrievers.

Overrides in present and future subclasses are replaced too. Everything is put back with the last
session.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.retrievers import BaseRetriever
from langchain_core.tools import BaseTool

from workbench.capture import (
    boundary,
    describe,
    graphs,
    humans,
    nodes,
    queues,
    roots,
    spawn,
    witness,
)

Wrapper = Callable[[Any], Any]
Entries = dict[str, Wrapper]

_MODEL: Entries = {
    "invoke": boundary.calling(describe.model_input),
    "ainvoke": boundary.awaiting(describe.model_input),
    "stream": boundary.streaming(describe.model_input),
    "astream": boundary.astreaming(describe.model_input),
    "generate": boundary.calling(describe.model_batches),
    "agenerate": boundary.awaiting(describe.model_batches),
    "_generate_with_cache": boundary.calling(describe.model_messages),
    "_agenerate_with_cache": boundary.awaiting(describe.model_messages),
}
_TOOL: Entries = {
    "invoke": boundary.calling(describe.tool_input),
    "ainvoke": boundary.awaiting(describe.tool_input),
    "run": boundary.calling(describe.tool_run),
    "arun": boundary.awaiting(describe.tool_run),
}
_RETRIEVER: Entries = {
    "invoke": boundary.calling(describe.query, documents=True),
    "ainvoke": boundary.awaiting(describe.query, documents=True),
}
ENTRIES: dict[type, Entries] = {
    BaseChatModel: _MODEL,
    BaseTool: _TOOL,
    BaseRetriever: _RETRIEVER,
}


class _Installed:
    """The replacements in place, and how to undo them."""

    def __init__(
        self,
        entries: dict[type, Entries],
        *,
        other: Callable[[], Iterable[tuple[Any, str, Wrapper]]] = tuple,
        but: tuple[type, ...] = (),
    ) -> None:
        self._entries, self._other, self._but = entries, other, but
        self._lock = threading.RLock()
        self._users = 0
        self._undo: list[tuple[Any, str, Any]] = []

    @contextmanager
    def held(self) -> Iterator[None]:
        with self._lock:
            self._users += 1
            if self._users == 1:
                self._install()
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if self._users == 0:
                    self._uninstall()

    def _install(self) -> None:
        for owner, name, wrapper in self._other():
            self._replace(owner, name, wrapper)
        for base, entries in self._entries.items():
            for kind in (base, *_subclasses(base)):
                self._replace_entries(kind, entries)
            self._follow_subclasses(base, entries)

    def _replace_entries(self, kind: type, entries: Entries) -> None:
        if issubclass(kind, self._but):
            return
        for name, wrapper in entries.items():
            if name in vars(kind):
                self._replace(kind, name, wrapper)

    def _replace(self, owner: Any, name: str, wrapper: Wrapper) -> None:
        # raw where it can be had: a class method stays one
        inherited = isinstance(owner, type) and name not in vars(owner)
        original = vars(owner)[name] if name in vars(owner) else getattr(owner, name)
        setattr(owner, name, wrapper(original))
        self._undo.append((owner, name, None if inherited else original))

    def _follow_subclasses(self, base: type, entries: Entries) -> None:
        own = vars(base).get("__init_subclass__")
        former = base.__init_subclass__.__func__  # type: ignore[attr-defined] # a class method

        @functools.wraps(former)
        def follow(cls: type, **kwargs: Any) -> None:
            former(cls, **kwargs)
            with self._lock:
                if self._users:
                    self._replace_entries(cls, entries)

        replaced: Any = classmethod(follow)  # type: ignore[arg-type] # mypy knows no wraps of a class method
        base.__init_subclass__ = replaced  # type: ignore[method-assign] # as the entries are
        self._undo.append((base, "__init_subclass__", own))

    def _uninstall(self) -> None:
        for owner, name, original in reversed(self._undo):
            if original is None:
                delattr(owner, name)
            else:
                setattr(owner, name, original)
        self._undo.clear()


def _subclasses(base: type) -> Iterator[type]:
    seen: set[type] = set()
    waiting: list[type] = list(base.__subclasses__())
    while waiting:
        kind = waiting.pop()
        if kind not in seen:
            seen.add(kind)
            waiting.extend(kind.__subclasses__())
            yield kind


def _others() -> Iterable[tuple[Any, str, Wrapper]]:
    for part in (spawn, queues, nodes, graphs, humans, witness):
        yield from part.targets()


_installed = _Installed(ENTRIES, other=_others)
_roots_installed = _Installed(roots.ENTRIES, but=tuple(ENTRIES))


def installed() -> Any:
    """Return a context in which every entry is intercepted."""
    return _installed.held()


def roots_installed() -> Any:
    """Return a context in which the outermost Runnable is noticed."""
    return _roots_installed.held()
