"""What is the product's own, and may connect while a replay refuses everybody else to.

Threads that work for it, and what its client asks of a server in whichever thread.
"""

from __future__ import annotations

import threading
import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

_threads: weakref.WeakSet[threading.Thread] = weakref.WeakSet()


class _Asking(threading.local):
    now = False


_asking = _Asking()


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


@contextmanager
def asking() -> Iterator[None]:
    """Ask our server for something until the block ends, in any thread."""
    former, _asking.now = _asking.now, True
    try:
        yield
    finally:
        _asking.now = former


def is_asking() -> bool:
    """Say whether the code that asks is our client, talking to its server."""
    return _asking.now
