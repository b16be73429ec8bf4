"""One supervised process: started, watched, started again, ended."""

from __future__ import annotations

import signal
import subprocess
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from workbench.errors import StackFailed
from workbench.local import processes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Launch = Callable[[ExitStack], tuple[list[str], dict[str, Any]]]

_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 10.0
_STEADY_S = 30.0
_LOG_LIMIT = 10_000_000


@dataclass(slots=True, kw_only=True)
class Part:
    """A process of the stack and what became of it."""

    name: str
    log: Path
    launch: Launch
    ends_on: signal.Signals = signal.SIGTERM
    process: subprocess.Popen[Any] | None = field(default=None, init=False)
    restarts: int = field(default=0, init=False)
    last_exit: str | None = field(default=None, init=False)
    started_at: float = field(default=0.0, init=False)
    pause_s: float = field(default=_FIRST_PAUSE_S, init=False)
    next_start_at: float | None = field(default=None, init=False)
    is_asked: bool = field(default=False, init=False)

    def start(self) -> int:
        """Start the process, its output going to its log, and return its number."""
        _rotate(self.log)
        self.log.touch(mode=0o600)
        with ExitStack() as stack:
            command, options = self.launch(stack)
            output = stack.enter_context(self.log.open("ab"))
            self.process = subprocess.Popen(  # noqa: S603 - our own programs
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                **options,
            )
        self.started_at = time.monotonic()
        self.next_start_at = None
        self.is_asked = False
        return self.process.pid

    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def check(self) -> str | None:
        """Note an exit, or start again when its pause is over; says what happened."""
        now = time.monotonic()
        if self.process is not None and self.process.poll() is not None:
            self._note_exit(self.process.returncode, now)
            return f"{self.name} ended: {self.last_exit}"
        if self.next_start_at is not None and now >= self.next_start_at:
            return self._start_again(now)
        return None

    def _start_again(self, now: float) -> str:
        self.restarts += 1
        try:
            return f"{self.name} started again, process {self.start()}"
        except OSError as error:
            self.last_exit = str(error)
            self._plan_start(now)
            return f"{self.name} could not be started again: {error}"

    def _note_exit(self, code: int, now: float) -> None:
        self.last_exit = exit_text(code)
        self.process = None
        if now - self.started_at > _STEADY_S:
            self.pause_s = _FIRST_PAUSE_S
        self._plan_start(now)

    def _plan_start(self, now: float) -> None:
        self.next_start_at = now + self.pause_s
        self.pause_s = min(self.pause_s * 2, _LONGEST_PAUSE_S)

    def wait(self) -> int:
        """Wait until the process has ended by itself."""
        return 0 if self.process is None else self.process.wait()

    def ask_to_end(self) -> None:
        """Send the signal the process ends on, once; it is not started again."""
        self.next_start_at = None
        # A second signal tells a server to drop what it is about to finish.
        if self.process is not None and self.process.poll() is None and not self.is_asked:
            self.is_asked = True
            self.process.send_signal(self.ends_on)

    def end(self, *, patience_s: float) -> None:
        """Ask the process to end, wait, and kill it if it stays."""
        self.ask_to_end()
        if self.process is None:
            return
        try:
            self.process.wait(patience_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def mark(self) -> dict[str, Any] | None:
        """Return what a later supervisor needs to recognise the process."""
        return None if self.process is None else processes.mark(self.process.pid)

    def status(self) -> dict[str, Any]:
        """Return the part's line for ``workbench doctor``."""
        running = self.is_running()
        return {
            "state": "running" if running else "down",
            "pid": self.process.pid if running and self.process else None,
            "restarts": self.restarts,
            "last_exit": self.last_exit,
            "log": str(self.log),
        }

    def failure(self, what: str) -> StackFailed:
        """Return the error that shows the last lines of the part's log."""
        return StackFailed(
            what,
            where=str(self.log),
            hint="The last lines were:\n" + last_lines(self.log),
            part=self.name,
            log=str(self.log),
        )


def exit_text(code: int) -> str:
    """Say how a process ended."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


def last_lines(log: Path, *, count: int = 8) -> str:
    """Return the end of a log, indented."""
    try:
        lines = log.read_text(errors="replace").splitlines()[-count:]
    except OSError:
        lines = []
    return "\n".join(f"  {line}" for line in lines) or "  (the log is empty)"


def _rotate(log: Path) -> None:
    if log.exists() and log.stat().st_size > _LOG_LIMIT:
        log.replace(log.with_suffix(".log.1"))
