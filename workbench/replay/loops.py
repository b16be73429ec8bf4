"""Waiting in an event loop, and being cancelled there as it was recorded."""

from __future__ import annotations

import asyncio
import types
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from workbench.replay.sleeps import real_sleep

if TYPE_CHECKING:
    from collections.abc import Generator

_ROUNDS = 20  # of its loop, that a task waits for another one to cancel it
_MOST_JUMPS = 1000
_LOOKS, _LOOK_S = 10, 0.005  # for another thread to do so

_ahead: WeakKeyDictionary[Any, float] = WeakKeyDictionary()


@types.coroutine
def _once() -> Generator[None, None, None]:
    yield


async def passed(*, lasting: bool) -> None:
    """Let the others of this loop have their turn.

    Raises
    ------
    CancelledError
        The task was cancelled and ``lasting`` is said; else it is where it waits next.
    """
    try:
        await _once()
    except asyncio.CancelledError as error:
        if lasting:
            raise
        cancel_again(error)


def cancel_again(error: asyncio.CancelledError) -> None:
    """Hand a cancelling that came too early on to where the task waits next."""
    task = asyncio.current_task()
    if task is not None:
        task.uncancel()
        task.cancel(*error.args)


async def cancelled() -> None:
    """Wait to be cancelled, by somebody or by a time limit; that comes as soon as nothing else.

    Where nobody does it for a while, the call was not cancelled from outside, and this returns.
    """
    loop = asyncio.get_running_loop()
    await _rounds()
    for _ in range(_MOST_JUMPS):
        if not _jump(loop):
            break
        await _rounds()
    for _ in range(_LOOKS):
        await real_sleep(_LOOK_S)


async def _rounds() -> None:
    for _ in range(_ROUNDS):
        await _once()


def _jump(loop: Any) -> bool:
    """Set a loop's clock to its next timer; False where it has none, or does not show them."""
    timers = getattr(loop, "_scheduled", ())
    when = min((timer.when() for timer in timers if not timer.cancelled()), default=None)
    if when is None:
        return False
    ahead = _ahead[loop] = _ahead.get(loop, 0.0) + max(0.0, when - loop.time())
    clock = type(loop).time
    loop.time = lambda: clock(loop) + ahead
    return True
