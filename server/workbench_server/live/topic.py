"""A run that is followed: what is known of it, and its newest page, which its readers share."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from workbench.errors import RunNotFound
from workbench_server.live.blocks import Page, page_of
from workbench_server.live.table import PAGE_EVENTS, State, look

if TYPE_CHECKING:
    from uuid import UUID

    from workbench_server.database import Pool

_PACE_S = 0.01
_PACE_PER_READER_S = 0.0004
_KEEP_S = 2.0
_SHARING = 2


class Topic:
    """One run's readers come here for pages and wait for `changed`; nothing is queued for them."""

    def __init__(
        self, pool: Pool, workspace_id: UUID, *, run_id: UUID, at_once: asyncio.Semaphore
    ) -> None:
        self.workspace_id, self.run_id = workspace_id, run_id
        self.readers = 0
        self.changed = asyncio.Event()
        self.state: State | None = None
        self._pool = pool
        self._at_once = at_once
        self._wakes, self._seen = 1, 0
        self._newest: Page | None = None
        self._read_at = 0.0
        self._turn = asyncio.Lock()

    def wake(self) -> None:
        """Let every reader look: the table may hold more than is known."""
        self._wakes += 1
        self.stir()

    def stir(self) -> None:
        """Let every reader look around; whoever waits from now on waits for the next time."""
        self.changed, changed = asyncio.Event(), self.changed
        changed.set()

    def learn(self, state: State | None) -> None:
        """Take what the table says now; readers are woken where that is news, or was missed."""
        if self._is_stale or state != self.state:
            self.wake()
        elif time.monotonic() - self._read_at > _KEEP_S:
            self._newest = None

    async def after(self, seq: int) -> Page | None:
        """Return the events after `seq`, or nothing while there are none."""
        if (page := self._known(seq)) or self._is_up_to_date(seq):
            return page
        if self.state is not None and seq + PAGE_EVENTS < self.state.last_seq:
            return await self._read(seq)
        async with self._turn:
            # Others may have read it while this reader waited for its turn.
            if (page := self._known(seq)) or self._is_up_to_date(seq):
                return page
            if self.state is not None and seq >= self.state.last_seq:
                # A writer of single events must not cost a read, and a block to each reader, each.
                pace_s = max(_PACE_S, self.readers * _PACE_PER_READER_S)
                await asyncio.sleep(self._read_at + pace_s - time.monotonic())
            page = await self._read(seq)
            self._keep(page)
        return page

    def _keep(self, page: Page | None) -> None:
        """Keep the page for the others, unless they have a longer one of the same end."""
        if page is None or self.readers < _SHARING:
            return
        kept = self._newest
        if kept is None or (page.last, -page.first) > (kept.last, -kept.first):
            self._newest = page

    def _known(self, seq: int) -> Page | None:
        return None if self._newest is None else self._newest.after(seq)

    @property
    def _is_stale(self) -> bool:
        return self._seen < self._wakes

    def _is_up_to_date(self, seq: int) -> bool:
        return not self._is_stale and self.state is not None and seq >= self.state.last_seq

    async def _read(self, seq: int) -> Page | None:
        # Only what was rung before the question was asked is answered by it.
        wakes = self._wakes
        async with self._at_once:
            state, rows = await look(self._pool, self.workspace_id, run_id=self.run_id, after=seq)
        self._read_at = time.monotonic()
        if state is None:
            self.state = None
            raise RunNotFound("the run is gone", where=f"run {self.run_id}")
        if self.state is None or (wakes, state.last_seq) >= (self._seen, self.state.last_seq):
            self._seen, self.state = wakes, state
        return page_of(rows, after=seq) if rows else None
