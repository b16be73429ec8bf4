"""What a start-up that takes longer than a second says, on standard error."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

_SILENT_S = 1.0


class Progress:
    """Nothing for a second, then one line for each thing being done."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._doing: str | None = None
        self._speaks = False
        self._timer = threading.Timer(_SILENT_S, self._begin)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        self._timer.join()

    def show(self, doing: str) -> None:
        """Say what is being done now, once."""
        with self._lock:
            new, self._doing = doing != self._doing, doing
            if new and self._speaks and doing not in {"ready", "failed"}:
                _say(doing)

    def _begin(self) -> None:
        with self._lock:
            self._speaks = True
            _say(self._doing or "starting")


def _say(doing: str) -> None:
    print(f"workbench: {doing} …", file=sys.stderr, flush=True)  # noqa: T201 - progress
