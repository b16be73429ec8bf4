"""A clock for recording two days of work in a minute: it moves only while models and tools work."""

from __future__ import annotations

import functools
import pkgutil
import sys
import threading
import time
from datetime import UTC, datetime, tzinfo
from importlib import import_module
from typing import TYPE_CHECKING, Any

from workbench import capture
from workbench.examples.support_desk import graph, tools
from workbench.examples.support_desk.knowledge import KnowledgeBase
from workbench.examples.support_desk.model import OfflineChatModel

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

MODULES = ("workbench.capture", "workbench.examples.support_desk")
TICK = 0.0004
SECONDS_BY_TOOL = {
    "hand_over": 0.002,
    "look_up_order": 0.11,
    "list_orders": 0.19,
    "payment_history": 0.9,
    "track_parcel": 1.4,
    "issue_refund": 1.1,
    "send_return_label": 0.6,
    "update_address": 0.25,
    "check_service_status": 0.3,
    "start_diagnostics": 0.8,
    "poll_diagnostics": 2.6,
    "open_ticket": 0.5,
}
GIVES_UP_AFTER = 10.0


class Clock:
    """The time of the recorded world, in seconds since 1970; each thread of a tool sees its own."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self._seconds = 0.0
        self._thread = threading.local()
        self._lock = threading.Lock()

    def set(self, moment: datetime) -> None:
        """Start a run at this moment."""
        self._seconds = moment.timestamp()
        self._thread.seconds = None

    def seconds(self) -> float:
        """Return the time where the calling thread is."""
        with self._lock:
            self._seconds += TICK
            own = getattr(self._thread, "seconds", None)
            if own is None:
                return self._seconds
            self._thread.seconds = own + TICK
            return float(own + TICK)

    def nanoseconds(self) -> int:
        """Return the time where the calling thread is, as a whole number."""
        return int(self.seconds() * 1e9)

    def now(self, zone: tzinfo | None = UTC) -> datetime:
        """Return the time as a date."""
        return datetime.fromtimestamp(self.seconds(), zone)

    def pass_by(self, seconds: float, *, since: float | None = None) -> None:
        """Let time pass for the calling thread; the others notice when they meet it again."""
        end = (self.seconds() if since is None else since) + seconds
        with self._lock:
            if threading.current_thread() is not threading.main_thread():
                self._thread.seconds = end
            self._seconds = max(self._seconds, end)

    def around(self, seconds: float) -> float:
        """Return a duration near this one, now and then much longer."""
        return seconds * self.rng.lognormvariate(0, 0.45)


def turn(clock: Clock) -> None:
    """Make the recorder and the agent read this clock, and give the agent's world its latencies.

    For a process that does nothing else: nothing is put back.
    """

    class Turned(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]  # a real date
            return clock.now(tz)

        @classmethod
        def fromtimestamp(cls, told: float, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]  # a real date
            return datetime.fromtimestamp(told, tz)

    for module in pkgutil.iter_modules(capture.__path__, f"{capture.__name__}."):
        import_module(module.name)
    replaced = {
        id(datetime): Turned,
        id(time.perf_counter): clock.seconds,
        id(time.time_ns): clock.nanoseconds,
    }
    for name, loaded in list(sys.modules.items()):
        if name.startswith(MODULES):
            for attribute, value in list(vars(loaded).items()):
                if id(value) in replaced:
                    setattr(loaded, attribute, replaced[id(value)])
    graph.PAUSE = 0
    _slow_down(clock)


def _slow_down(clock: Clock) -> None:
    answer = OfflineChatModel._answer  # noqa: SLF001 - the one place where the model thinks
    search = KnowledgeBase._get_relevant_documents  # noqa: SLF001 - the same of the search

    def thinking(self: OfflineChatModel, *given: Any) -> Any:
        message = answer(self, *given)
        said = message.usage_metadata["output_tokens"] if message.usage_metadata else 0
        clock.pass_by(clock.around(0.35 + 0.017 * said))
        return message

    def searching(self: KnowledgeBase, *given: Any, **named: Any) -> Any:
        clock.pass_by(clock.around(0.07))
        return search(self, *given, **named)

    OfflineChatModel._answer = thinking  # type: ignore[assignment]  # noqa: SLF001 - see above
    KnowledgeBase._get_relevant_documents = searching  # type: ignore[method-assign]  # noqa: SLF001
    for tool in tools.ALL:
        tool.func = _timed(clock, tool.func, SECONDS_BY_TOOL[tool.name])  # type: ignore[attr-defined]


def _timed(clock: Clock, work: Callable[..., Any], seconds: float) -> Callable[..., Any]:
    @functools.wraps(work)
    def timed(*given: Any, **named: Any) -> Any:
        since, took = clock.seconds(), clock.around(seconds)
        try:
            return work(*given, **named)
        except TimeoutError:
            took = GIVES_UP_AFTER
            raise
        finally:
            time.sleep(took / 500)
            clock.pass_by(took, since=since)

    return timed
