"""How far a replay is: told from a thread of our own, so that it costs the agent nothing."""

from __future__ import annotations

import contextvars
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
_HTML = (
    '<div style="display:flex;align-items:center;gap:0.75em;padding:0.25em 0.6em;'
    'font-size:var(--jp-ui-font-size1,13px);font-variant-numeric:tabular-nums"><span>{}</span>'
    '<progress value="{}" max="{}" '
    'style="width:16em;accent-color:var(--jp-brand-color1,#1976d2)"></progress>'
    "<span>{}</span></div>"
)


class Bar:
    """What is done of all, and since when: for replays that take longer than a second.

    In a notebook it is a line of the cell's output, else a bar on standard error; nothing of it is
    left behind, neither on the screen nor in the notebook's file. ``what`` is done is its title.
    """

    def __init__(self, what: str = "replay") -> None:
        self._what = what
        self._began = time.monotonic()
        self._cell = contextvars.copy_context()  # it is told from a thread that has no cell
        self._shown: _Line | _InNotebook | None = None

    def __call__(self, done: int, total: int) -> None:
        """Show that so many calls are answered, of so many that were recorded."""
        seconds = time.monotonic() - self._began
        if self._shown is None:
            if seconds < _SILENT_S:
                return
            what, cell = self._what, self._cell
            self._shown = _InNotebook(what, cell) if _is_notebook() else _Line(what)
        self._shown.show(done, total, seconds)

    def close(self) -> None:
        """Take the bar away."""
        if self._shown is not None:
            self._shown.take_away()


class _Line:
    """A bar on standard error."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._bar: Any = None

    def show(self, done: int, total: int, seconds: float) -> None:
        if self._bar is None:
            from tqdm import tqdm

            self._bar = tqdm(
                initial=done,
                total=total,
                leave=False,
                file=sys.stderr,
                bar_format=f"{self._what} |{{bar}}| {{n_fmt}} of {{total_fmt}} calls, {{elapsed}}",
            )
            self._bar.start_t -= seconds
        self._bar.n = done
        self._bar.refresh()

    def take_away(self) -> None:
        self._bar.close()


class _InNotebook:
    """A line of a cell's output, which is in its file only while it is shown."""

    def __init__(self, what: str, cell: contextvars.Context) -> None:
        self._what, self._cell = what, cell
        self._handle: Any = None

    def show(self, done: int, total: int, seconds: float) -> None:
        told = f"{done} of {total} calls, {int(seconds) // 60}:{int(seconds) % 60:02}"
        html = _HTML.format(self._what, done, total, told)
        self._put({"text/plain": f"{self._what}: {told}", "text/html": html})

    def take_away(self) -> None:
        self._put({"text/plain": ""})

    def _put(self, bundle: dict[str, str]) -> None:
        self._cell.copy().run(self._display, bundle)

    def _display(self, bundle: dict[str, str]) -> None:
        if self._handle is None:
            from IPython.display import display

            self._handle = display(bundle, raw=True, display_id=True)  # type: ignore[no-untyped-call] # IPython's own
        else:
            self._handle.update(bundle, raw=True)


def _is_notebook() -> bool:
    """Say whether a kernel runs here: whoever reads has a cell's output, and no terminal."""
    interactive = sys.modules.get("IPython")
    shell = interactive.get_ipython() if interactive is not None else None
    return getattr(shell, "kernel", None) is not None


@contextmanager
def shown(progress: Tell | None, *, what: str = "replay") -> Iterator[Tell]:
    """Give what is told of progress: what was given, else a bar with ``what`` is done."""
    if progress is not None:
        yield progress
        return
    bar = Bar(what)
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
