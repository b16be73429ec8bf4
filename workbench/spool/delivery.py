"""Bring a writer's line to its store: in order, and again where something is missing.

What is acknowledged leaves the disk. An event that the store refuses for what it is gives way to a
stub, which says so, since every later event of its writer would be refused with it.
"""

from __future__ import annotations

import logging
import random
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from workbench.errors import (
    LimitExceeded,
    MissingBodies,
    RateLimited,
    RedactionRequired,
    RunClosed,
    RunNotFound,
    SchemaError,
    SequenceGap,
    SpoolFailed,
    Unavailable,
    WorkbenchError,
)
from workbench.spool.stubs import stub

if TYPE_CHECKING:
    from workbench.schema import RunHeader
    from workbench.spool.line import Block, Line, Rewriting

log = logging.getLogger("workbench.spool")

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 5.0
_BODIES = b'{"bodies"'
_RETURNS = 3  # so often it is sent again what a store says it has not
_PASSING = (Unavailable, RateLimited)  # what may be over in a moment
_REDACTIONS = 3  # so often what waits is redacted before an event is given up
_OF_ITSELF = (
    SchemaError,
    LimitExceeded,
    RedactionRequired,
)  # what an event is refused for whenever it comes


class Destination(Protocol):
    """A store, as far as a delivery needs one."""

    def declare(self, header: RunHeader) -> object:
        """Make the run, or find that it is there."""

    def append_lines(self, run_id: str, lines: bytes) -> object:
        """Store events that are lines of JSON: all of them, or none."""

    def redacting(self) -> Rewriting:
        """Ask by which rules events have to be redacted, and return what does so."""


@dataclass(slots=True)
class Delivery:
    """Sends one line, a block at a time; `step` is called again and again by whoever has a thread.

    Attributes
    ----------
    declared
        Whether the store knows the run.
    pause_s
        How long to wait before the next step, after one that failed; 0 after one that did not.
    error
        Why the last step failed, or None.
    failing_since
        When the first of the steps failed that failed in a row, by the monotonic clock; or None.
    over
        Nothing more of the line can be sent: the run has ended, or the store cannot go on.
    lost
        How many events were left out: those after the run's end.
    """

    line: Line
    to: Destination
    declared: bool = False
    pause_s: float = 0.0
    error: WorkbenchError | None = None
    failing_since: float | None = None
    over: bool = False
    lost: int = 0
    _stubbed: set[int] = field(default_factory=set, init=False)
    _returns: int = field(default=0, init=False)
    _redactions: int = field(default=0, init=False)

    @property
    def stubs(self) -> int:
        """How many events gave way to a stub."""
        return len(self._stubbed)

    @property
    def run_id(self) -> str:
        """The run the line belongs to."""
        return str(self.line.header.run.run_id)

    def step(self) -> bool:
        """Send the next block; False where nothing waits, or nothing can be sent now."""
        if self.over:
            return False
        try:
            if not self.declared:
                self.to.declare(self.line.header.run)
                self.declared = True
            block = self.line.block()
            if block is None:
                return False
            self._send(block)
        except RedactionRequired as error:
            return self._redacted(error)
        except WorkbenchError as error:
            self._failed(error)
            return False
        except Exception as error:  # noqa: BLE001 - the recording goes on, and stays in the spool
            self._failed(Unavailable("events could not be sent", found=repr(error)))
            return False
        self.error, self.failing_since, self.pause_s = None, None, 0.0
        return True

    def _send(self, block: Block) -> None:
        try:
            self.to.append_lines(self.run_id, block.lines)
        except SequenceGap as error:
            if not self._goes_back(int(error.expected)):
                raise
            return
        except MissingBodies:
            if self._goes_back(1):
                return
            self._send_parts(block.lines.splitlines(keepends=True))
        except RedactionRequired:
            if self._redactions < _REDACTIONS:
                raise
            self._send_parts(block.lines.splitlines(keepends=True))
        except _OF_ITSELF:
            self._send_parts(block.lines.splitlines(keepends=True))
        self.line.acknowledge(block.last)
        self._returns = self._redactions = 0

    def _goes_back(self, to: int) -> bool:
        """Send again what the store has not, as far as it is still here; not for ever."""
        self._returns += 1
        return self._returns <= _RETURNS and self.line.go_back(to)

    def _send_parts(self, lines: list[bytes]) -> None:
        """Find the line that is refused for what it is, and send a stub in its place."""
        try:
            self.to.append_lines(self.run_id, b"".join(lines))
        except _OF_ITSELF as error:
            half = len(lines) // 2
            if half:
                self._send_parts(lines[:half])
                self._send_parts(lines[half:])
            elif lines[0].startswith(_BODIES):
                log.warning("a message is refused, and missing from its run: %s", error)
            else:
                log.warning("an event is refused, and a stub takes its place: %s", error)
                self.to.append_lines(self.run_id, stub(lines[0], error))
                self._stubbed.add(hash(lines[0]))  # sent again, it is the same

    def _redacted(self, refused: RedactionRequired) -> bool:
        """Redact what waits by the rules of now: the next step sends it, signed anew."""
        if self._redactions >= _REDACTIONS:
            self._failed(refused)
            return False
        try:
            self.line.rewrite(self.to.redacting())
        except WorkbenchError as error:
            self._failed(error)
            return False
        except Exception as error:  # noqa: BLE001 - the recording goes on, and stays in the spool
            self._failed(Unavailable("what waits could not be redacted", found=repr(error)))
            return False
        self._redactions += 1
        log.info("what waits was redacted by the workspace's rules of now: %s", refused)
        return True

    def _failed(self, error: WorkbenchError) -> None:
        self.error = error
        self.failing_since = self.failing_since or time.monotonic()
        self.line.go_back()
        if isinstance(error, RunClosed):
            self.over = True
            with suppress(SpoolFailed):  # a file that stays is sent again, and refused again
                self.lost += self.line.give_up()
        elif isinstance(error, RunNotFound):
            self.declared = False
            self._wait()
        elif isinstance(error, (*_PASSING, SpoolFailed)):  # there may be room again
            self._wait(at_least_s=float(error.facts.get("retry_after", 0)))
        else:
            self.over = True
            log.warning("a recording cannot be delivered, and stays in the spool: %s", error)

    def _wait(self, *, at_least_s: float = 0.0) -> None:
        longest = min(max(2 * self.pause_s, _FIRST_PAUSE_S), _LONGEST_PAUSE_S)
        # Many that were cut off together need not all come back together.
        self.pause_s = at_least_s + random.uniform(longest / 2, longest)
