"""Waiting is skipped while a replay runs: what was waited for has long come."""

from __future__ import annotations

import asyncio
import functools
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from workbench.capture import scope

if TYPE_CHECKING:
    from collections.abc import Iterator

_lock = threading.Lock()
_users = 0
_sleep, _async_sleep = time.sleep, asyncio.sleep
real_sleep = asyncio.sleep


def _skipped(seconds: float) -> bool:
    """Say whether nothing is waited for here, but that it is later then."""
    here = scope.current()
    if here is None or not here.session.skips_sleeps:
        return False
    clock = getattr(here.session, "clock", None)
    if clock is not None:
        clock.slept(seconds)
    return True


@functools.wraps(_sleep)
def _no_sleep(seconds: float) -> None:
    _sleep(0 if _skipped(seconds) else seconds)


@functools.wraps(_async_sleep)
async def _no_async_sleep(delay: float, result: Any = None) -> Any:
    return await _async_sleep(0 if _skipped(delay) else delay, result)


@contextmanager
def skipped() -> Iterator[None]:
    """Skip the sleeps of sessions that want it until the block ends."""
    _replace(+1)
    try:
        yield
    finally:
        _replace(-1)


def _replace(change: int) -> None:
    global _users  # noqa: PLW0603 - modules have one attribute for all sessions
    with _lock:
        _users += change
        on = _users > 0
        time.sleep = _no_sleep if on else _sleep  # type: ignore[assignment] # put back with the last user
        asyncio.sleep = _no_async_sleep if on else _async_sleep
        asyncio.tasks.sleep = asyncio.sleep
