"""Threads of the product's own: a replay refuses everybody but them to connect anywhere."""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_threads: weakref.WeakSet[threading.Thread] = weakref.WeakSet()


def started(work: Callable[[], object], *, name: str) -> threading.Thread:
    """Start a thread that works for the product, and does not keep the process alive."""
    thread = threading.Thread(target=work, name=name, daemon=True)
    _threads.add(thread)
    thread.start()
    return thread


def is_running() -> bool:
    """Say whether the code that asks runs in such a thread."""
    return threading.current_thread() in _threads
