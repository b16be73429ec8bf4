"""How far a replay is: told from a thread of our own, so that it costs the agent nothing."""

from __future__ import annotations

import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from workbench import ours

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Tell = Callable[[int, int], object]

_TELL_S = 0.1
_SILENT_S = 1.0


class Bar:
    """A bar on standard error or in a notebook, for replays that take longer than a second."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._bar: Any = None

    def __call__(self, done: int, total: int) -> None:
        """Show that so many calls are answered, of so many that were recorded."""
        if self._bar is None:
            if time.monotonic() - self._began < _SILENT_S:
                return
            from tqdm.auto import tqdm

            self._bar = tqdm(desc="replay", unit="call", total=total, leave=False, file=sys.stderr)
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()


@contextmanager
def shown(progress: Tell | None) -> Iterator[Tell]:
    """Give what is told of progress: what was given, else a bar."""
    if progress is not None:
        yield progress
        return
    bar = Bar()
    try:
        yield bar
    finally:
        bar.close()


@contextmanager
def told(
    tell: Tell | None, *, done: Callable[[], int], total: int, failed: Callable[[Exception], None]
) -> Iterator[None]:
    """Tell how much is done: ten times a second where that changes, else each second; at the end.

    ``failed`` takes what telling raised: nothing is told from then on.
    """
    if tell is None:
        yield
        return
    over = threading.Event()

    def work() -> None:
        before, at = 0, time.monotonic()
        try:
            while not over.wait(_TELL_S):
                now = done()
                if now != before or time.monotonic() - at >= _SILENT_S:
                    tell(now, total)
                    before, at = now, time.monotonic()
            tell(done(), total)
        except Exception as error:  # noqa: BLE001 - whatever it is ends the replay
            failed(error)

    thread = ours.started(work, name="workbench-progress")
    try:
        yield
    finally:
        over.set()
        thread.join()
