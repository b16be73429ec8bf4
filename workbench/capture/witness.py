"""An independent witness: LangChain's own callbacks tell what started.

A model, tool or retriever that starts outside a recorded call is a gap in the recording.
"""

# ruff: noqa: ARG002
# LangChain passes what it passes: a handler takes it all

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, cast

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.tracers.context import register_configure_hook

from workbench.capture import scope

if TYPE_CHECKING:
    from contextvars import ContextVar

    from workbench.capture.session import Session


class Witness(BaseCallbackHandler):
    """Counts what starts, for one session."""

    run_inline = True
    raise_error = False

    @property
    def ignore_chain(self) -> bool:
        """Graphs, nodes and chains are no business of the witness, and there are many."""
        return True

    def __init__(self, session: Session) -> None:
        self._session = session
        self.started = 0

    # ---- gaps

    def _saw(self, kind: str, name: str | None) -> None:
        if self._session.closed:
            return
        self.started += 1
        here = scope.current()
        if here is None or not here.in_call:
            self._session.gap(kind, name, reason="started without a recorded call")

    def on_chat_model_start(self, serialized: Any, messages: Any, **kwargs: Any) -> None:
        """Count a chat model that starts."""
        self._saw("model", _name(serialized, kwargs))

    def on_llm_start(self, serialized: Any, prompts: Any, **kwargs: Any) -> None:
        """Count a text model that starts."""
        self._saw("model", _name(serialized, kwargs))

    def on_tool_start(self, serialized: Any, input_str: Any, **kwargs: Any) -> None:
        """Count a tool that starts."""
        self._saw("tool", _name(serialized, kwargs))

    def on_retriever_start(self, serialized: Any, query: Any, **kwargs: Any) -> None:
        """Count a retriever that starts."""
        self._saw("retriever", _name(serialized, kwargs))


def _name(serialized: Any, kwargs: dict[str, Any]) -> str | None:
    return kwargs.get("name") or (serialized or {}).get("name")


class _OfSession:
    """Stands where LangChain looks for a context variable: the witness of the current session."""

    name = "workbench_witness"

    def get(self) -> Witness | None:
        here = scope.current()
        witness: Witness | None = getattr(here.session, "witness", None) if here else None
        return witness


_lock = threading.Lock()
_registered = False


def install() -> None:
    """Make LangChain ask for the witness of the current session, once in a process."""
    global _registered  # noqa: PLW0603 - LangChain has no way to take a hook back
    with _lock:
        if not _registered:
            register_configure_hook(cast("ContextVar[Any]", _OfSession()), inheritable=True)
            _registered = True
