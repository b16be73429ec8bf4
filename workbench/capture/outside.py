"""Calls outside every session: none of our business, unless a replay runs in this process."""

from __future__ import annotations

import threading
from typing import Any

from workbench.errors import LiveCallBlocked

_lock = threading.Lock()
_replays: dict[int, Any] = {}


def replay_began(session: Any) -> None:
    """Refuse calls outside every session from now on."""
    with _lock:
        _replays[id(session)] = session


def replay_ended(session: Any) -> None:
    """Allow them again when the last replay is over."""
    with _lock:
        _replays.pop(id(session), None)


def check(name: str) -> None:
    """Refuse a call of code that lost its session while a replay runs.

    Raises
    ------
    LiveCallBlocked
        A replay runs in this process, and it promises that nothing is called outside.
    """
    if not _replays:
        return
    for session in list(_replays.values()):
        session.lost_call(name)
    raise LiveCallBlocked(
        f"{name} was called outside the replay that runs in this process",
        hint="live calls and a replay do not run in one process at once",
    )
