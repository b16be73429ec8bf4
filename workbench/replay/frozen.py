"""The clock and the chance of a replay: those of the recording, as far as that knows them.

Chance: the generators of `random` and, where both have loaded it, `numpy.random` begin in the
recorded state and are put back afterwards. So whoever draws in one thread, outside calls, draws the
same again. What calls drew while they were made is not drawn again: after such a call the streams
differ. Several threads share one stream, and who draws first is chance. ``uuid.uuid4`` and
``os.urandom`` stay as they are.

Clock: where an agent's own code reads `time.time`, `time.monotonic`, `time.perf_counter` or their
``_ns`` forms, it is as late as it was when the last answered call came back, and as much later as
it worked or would have slept since: durations and deadlines are about what they were. What a bare
reading gave is not recorded, so it is near and never equal; what must be equal is read by
`wb.clock`. Nothing is hidden by it: a request that holds such a reading differs, and is told
(``nondeterminism``). The product, the standard library (event loops, threads, logs) and the
frameworks go on with the real clock; so do ``datetime.now`` and names that were bound before
(``from time import time``), which cannot be replaced. Local times are in the recorded zone.
"""

from __future__ import annotations

import functools
import os
import random
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from workbench.capture import scope, world

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from workbench.recording import RecordedCall, Recording

_FRAMEWORKS = frozenset(
    {
        *("workbench", "workbench_server", "langgraph", "langchain", "langchain_core", "langsmith"),
        *("anyio", "uvloop", "IPython", "ipykernel", "jupyter_client", "tornado", "zmq", "pytest"),
        *("debugpy", "distributed", "httpx", "httpcore"),
    }
)
_REAL = frozenset(sys.stdlib_module_names) - {"__main__"} | _FRAMEWORKS
_CLOCKS = ("time", "monotonic", "perf_counter")
_NS = 10**9

_real_monotonic = time.monotonic


class Clock:
    """What time it is in a replay; whoever slept is later than who works beside it."""

    def __init__(self, began: float) -> None:
        self._began = began
        self._read = _real_monotonic()
        # a time, and when it was that: of all, and of tasks and threads that slept
        self._all = (began, self._read)
        self._slept: dict[scope.Work, tuple[float, float]] = {}

    def answered(self, call: RecordedCall) -> None:
        """Go on to when a recorded call came back; never back."""
        real = _real_monotonic()
        if call.ended_at is not None and call.ended_at > _later(self._all, real):
            self._all = (call.ended_at, real)

    def slept(self, seconds: float) -> None:
        """Go on by what a task or thread did not wait."""
        if seconds > 0:
            self._slept[scope.who()] = (self.now() + float(seconds), _real_monotonic())

    def now(self) -> float:
        """Return the seconds since 1970."""
        real = _real_monotonic()
        own = self._slept.get(scope.who()) if self._slept else None
        return max(_later(self._all, real), _later(own, real) if own else 0.0)

    def passed(self) -> float:
        """Return how many seconds are between the replay's real time and this one."""
        return self.now() - self._began - (_real_monotonic() - self._read)


def _later(since: tuple[float, float], real: float) -> float:
    then, was = since
    return then + real - was


def clock_of(recording: Recording) -> Clock | None:
    """Return the clock of a recording's replay; None where nobody knows when that began."""
    began = world.started_at(recording.world or {})
    return None if began is None else Clock(began)


# ---- what is replaced

_lock = threading.Lock()
_users = 0
_originals: dict[str, Callable[[], Any]] = {}


@functools.lru_cache(4096)
def _has_real(module: str) -> bool:
    """Say whether the code of a module goes on with the real clock."""
    return module.partition(".")[0] in _REAL


def _here() -> Clock | None:
    """Return the clock of the code that runs, if it is an agent's in a replay."""
    found = scope.current()
    if found is None or found.in_call or not found.session.skips_sleeps:
        return None
    return getattr(found.session, "clock", None)


def _reading(name: str, original: Callable[[], Any]) -> Callable[[], Any]:
    """Return what stands for a clock while replays run."""
    whole = name.endswith("_ns")
    is_date = name.startswith("time")

    def read() -> Any:
        if _has_real(str(sys._getframe(1).f_globals.get("__name__"))):  # noqa: SLF001 - who asks decides
            return original()
        clock = _here()
        if clock is None:
            return original()
        if is_date:
            return int(clock.now() * _NS) if whole else clock.now()
        ahead = clock.passed()
        return original() + (int(ahead * _NS) if whole else ahead)

    read.__name__ = name
    return read


def _replace(change: int) -> None:
    global _users
    with _lock:
        was_on, _users = _users > 0, _users + change
        if not was_on:
            for name in [*_CLOCKS, *(f"{name}_ns" for name in _CLOCKS)]:
                _originals[name] = getattr(time, name)
                setattr(time, name, _reading(name, _originals[name]))
        elif not _users:
            for name, original in _originals.items():
                setattr(time, name, original)


@contextmanager
def clocks() -> Iterator[None]:
    """Give agents in replays the recorded time until the block ends."""
    _replace(+1)
    try:
        yield
    finally:
        _replace(-1)


@contextmanager
def generators(found: dict[str, Any]) -> Iterator[None]:
    """Put the generators of chance in their recorded states, and back when the block ends."""
    with ExitStack() as stack:
        state = world.python_state(found)
        if state is not None:
            stack.callback(random.setstate, random.getstate())
            random.setstate(state)
        module, legacy = sys.modules.get("numpy.random"), world.numpy_state(found)
        if module is not None and legacy is not None:
            stack.callback(module.set_state, module.get_state(legacy=True))
            module.set_state(legacy)
        yield


@contextmanager
def zone(found: dict[str, Any]) -> Iterator[None]:
    """Make local times those of the recorded zone until the block ends."""
    name, own = found.get("zone"), os.environ.get("TZ")
    if not name or name == world.zone():
        yield
        return
    world.set_zone(name)
    try:
        yield
    finally:
        if own is None:
            del os.environ["TZ"]
            time.tzset()
        else:
            world.set_zone(own)


@contextmanager
def as_recorded(recording: Recording) -> Iterator[None]:
    """Give an agent the chance, the zone and about the clock of a recording."""
    found = recording.world or {}
    with clocks(), zone(found), generators(found):
        yield
