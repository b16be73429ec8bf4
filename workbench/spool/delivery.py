"""Bring a writer's line to its store: in order, and again where something is missing.

What is acknowledged leaves the disk. An event that the store refuses for what it is gives way to a
stub, which says so, since every later event of its writer would be refused with it.
"""

from __future__ import annotations

import logging
import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from workbench.errors import (
    LimitExceeded,
    MissingBodies,
    RateLimited,
    RunClosed,
    RunNotFound,
    SchemaError,
    SequenceGap,
    Unavailable,
    WorkbenchError,
)
from workbench.spool.stubs import stub

if TYPE_CHECKING:
    from workbench.schema import RunHeader
    from workbench.spool.line import Block, Line

log = logging.getLogger("workbench.spool")

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 5.0
_PASSING = (Unavailable, RateLimited)  # what may be over in a moment
_OF_ITSELF = (SchemaError, LimitExceeded)  # what an event is refused for whenever it comes


class Destination(Protocol):
    """A store, as far as a delivery needs one."""

    def declare(self, header: RunHeader) -> object:
        """Make the run, or find that it is there."""

    def append_lines(self, run_id: str, lines: bytes) -> object:
        """Store events that are lines of JSON: all of them, or none."""


@dataclass(slots=True)
class Delivery:
    """Sends one line, a block at a time; `step` is called again and again by whoever has a thread.

    Attributes
    ----------
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
    stubs
        How many events gave way to a stub.
    """

    line: Line
    to: Destination
    pause_s: float = 0.0
    error: WorkbenchError | None = None
    failing_since: float | None = None
    over: bool = False
    lost: int = 0
    stubs: int = 0
    _declared: bool = field(default=False, init=False)
    _went_back_to: int = field(default=0, init=False)

    @property
    def run_id(self) -> str:
        """The run the line belongs to."""
        return str(self.line.header.run.run_id)

    def step(self) -> bool:
        """Send the next block; False where nothing waits, or nothing can be sent now."""
        if self.over:
            return False
        try:
            if not self._declared:
                self.to.declare(self.line.header.run)
                self._declared = True
            block = self.line.block()
            if block is None:
                return False
            self._send(block)
        except WorkbenchError as error:
            self._failed(error)
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
            if self._goes_back(None):
                return
            self._send_one_by_one(block)
        except _OF_ITSELF:
            self._send_one_by_one(block)
        self.line.acknowledge(block.last)
        self._went_back_to = 0

    def _goes_back(self, to: int | None) -> bool:
        """Send again what the store has not; a second time from the same place is no use."""
        place = -1 if to is None else to
        again = self._went_back_to == place
        self._went_back_to = place
        return not again and self.line.go_back(to)

    def _send_one_by_one(self, block: Block) -> None:
        """Find the event that is refused for what it is, and send a stub in its place."""
        bodies = b""
        for raw in block.lines.splitlines(keepends=True):
            if raw.startswith(b'{"bodies"'):
                bodies += raw
                continue
            try:
                self.to.append_lines(self.run_id, bodies + raw)
            except _OF_ITSELF as error:
                log.warning("an event is refused, and a stub takes its place: %s", error)
                self.to.append_lines(self.run_id, stub(raw, error))
                self.stubs += 1
            bodies = b""

    def _failed(self, error: WorkbenchError) -> None:
        self.error = error
        self.failing_since = self.failing_since or time.monotonic()
        self.line.go_back()
        if isinstance(error, RunClosed):
            self.over = True
            self.lost += self.line.waiting
            self.line.acknowledge(2**63 - 1)
        elif isinstance(error, RunNotFound):
            self._declared = False
            self._wait()
        elif isinstance(error, _PASSING):
            self._wait()
        else:
            self.over = True
            log.warning("a recording cannot be delivered, and stays in the spool: %s", error)

    def _wait(self) -> None:
        longest = min(max(2 * self.pause_s, _FIRST_PAUSE_S), _LONGEST_PAUSE_S)
        # Many that were cut off together need not all come back together.
        self.pause_s = random.uniform(longest / 2, longest)
