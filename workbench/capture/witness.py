"""An independent witness: LangChain's own callbacks tell what started.

A model, tool or retriever that starts outside a recorded call is a gap in the recording. The same
callbacks tell when a graph enters a node, which gives the run its steps and their lanes.
"""

# ruff: noqa: ARG002
# LangChain passes what it passes: a handler takes it all

from __future__ import annotations

import threading
from time import perf_counter
from typing import TYPE_CHECKING, Any, cast

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.tracers.context import register_configure_hook

from workbench import hashing
from workbench.capture import exceptions, scope, values

if TYPE_CHECKING:
    from contextvars import ContextVar
    from uuid import UUID

    from workbench.capture.session import Session


class Witness(BaseCallbackHandler):
    """Counts what starts, for one session."""

    run_inline = True
    raise_error = False

    def __init__(self, session: Session) -> None:
        self._session = session
        self._steps: dict[UUID, tuple[scope.Place, str, float]] = {}
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

    # ---- steps

    def on_chain_start(
        self,
        serialized: Any,
        inputs: Any,
        *,
        run_id: UUID,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Begin a step where a node of a graph is entered."""
        namespace = (metadata or {}).get("langgraph_checkpoint_ns")
        here = scope.current()
        if here is None or here.in_call or not namespace or here.session is not self._session:
            return
        if kwargs.get("name") != (metadata or {}).get("langgraph_node"):
            return
        place = self._session.visits.place(here.place, namespace, metadata or {})
        if place.step_id is None:
            self._open_step(run_id, place, str(kwargs["name"]))

    def _open_step(self, run_id: UUID, place: scope.Place, name: str) -> None:
        outer = self._session.visits.known(place.namespace.rpartition("|")[0])
        place.step_id = self._session.journal.step_id()
        self._steps[run_id] = (place, name, perf_counter())
        self._session.journal.put(
            "step_started",
            step_id=place.step_id,
            parent_step_id=outer.step_id if outer else None,
            name=name,
            lane=place.path,
            status="running",
        )

    def on_chain_end(self, outputs: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """End the step of a node that is left."""
        self._close_step(run_id, "ok", {})

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """End the step of a node that raised."""
        if run_id in self._steps:
            record = exceptions.to_record(error, values.Freezer())
            self._close_step(run_id, "error", {"exception": record})

    def _close_step(self, run_id: UUID, status: str, body: dict[str, Any]) -> None:
        known = self._steps.pop(run_id, None)
        if known is None or self._session.closed:
            return
        place, name, started = known
        self._session.journal.put(
            "step_ended",
            payload=hashing.dumps(body),
            step_id=place.step_id,
            name=name,
            lane=place.path,
            status=status,
            duration_ms=max(0.0, (perf_counter() - started) * 1000),
        )


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
