"""An independent witness: what LangChain tells its callbacks of, before they are called.

A model, tool or retriever that starts outside a recorded call is a gap in the recording. It is told
at the managers of the callbacks and is no callback itself: with one, each node of a graph would
build managers for it.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from langchain_core.callbacks import AsyncCallbackManager, CallbackManager

from workbench.capture import scope

if TYPE_CHECKING:
    from collections.abc import Callable

_KINDS = {
    "on_chat_model_start": "model",
    "on_llm_start": "model",
    "on_tool_start": "tool",
    "on_retriever_start": "retriever",
}


def _saw(kind: str, serialized: Any, options: dict[str, Any]) -> None:
    here = scope.current()
    if here is not None and not here.in_call:
        told = serialized if isinstance(serialized, dict) else {}  # whatever an agent passes
        name = options.get("name") or told.get("name")
        here.session.gap(kind, name, reason="started without a recorded call")


def _seen(kind: str) -> Callable[[Any], Any]:
    """Return a wrapper; that of an asynchronous entry looks when it is called, too."""

    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def started(self: Any, serialized: Any, *args: Any, **kwargs: Any) -> Any:
            _saw(kind, serialized, kwargs)
            return original(self, serialized, *args, **kwargs)

        return started

    return wrap


def targets() -> list[tuple[Any, str, Callable[[Any], Any]]]:
    """Return what is replaced while a session runs: (owner, attribute, wrapper)."""
    return [
        (manager, name, _seen(kind))
        for manager in (CallbackManager, AsyncCallbackManager)
        for name, kind in _KINDS.items()
    ]
