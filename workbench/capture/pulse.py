"""Says every few seconds that a recording goes on, so that its run is not taken for lost.

A thread of its own does it: an agent that thinks for an hour sends no event in that time. Nothing
that goes wrong here reaches the agent.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from workbench import ours

if TYPE_CHECKING:
    from collections.abc import Mapping

log = logging.getLogger("workbench.capture")

EVERY_S = 10.0


@runtime_checkable
class Beating(Protocol):
    """A writer whose store wants to hear that it is alive."""

    def heartbeat(self) -> Mapping[str, Any]:
        """Say so; the answer has ``status``, ``health``, ``closed`` and ``cancelled``."""


class Pulse:
    """Beats until it is stopped, or told that the run was cancelled."""

    def __init__(self, sink: Beating, *, thread_name: str) -> None:
        self._sink = sink
        self._stopped = threading.Event()
        self.cancelled = False
        self._thread = ours.started(self._work, name=thread_name)

    def stop(self) -> None:
        """Beat no more; a beat under way is not waited for."""
        self._stopped.set()

    def _work(self) -> None:
        while not self._stopped.wait(EVERY_S):
            try:
                self.cancelled = bool(self._sink.heartbeat().get("cancelled"))
            except Exception as error:  # noqa: BLE001 - capture never breaks the agent
                log.debug("no heartbeat: %r", error)
            if self.cancelled:
                log.warning("the run was cancelled on the server")
                return
