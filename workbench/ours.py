"""Threads of the product's own: a replay refuses everybody but them to connect anywhere."""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

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


def apart(work: Callable[[], T], *, name: str) -> T:
    """Do something in such a thread, and return what it gives; its errors come back."""
    given: list[T] = []
    raised: list[BaseException] = []

    def guarded() -> None:
        try:
            given.append(work())
        except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
            raised.append(error)

    started(guarded, name=name).join()
    if raised:
        raise raised[0]
    return given[0]
