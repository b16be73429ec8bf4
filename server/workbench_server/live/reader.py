"""One follower: what it is sent, in order of seq, from where it was to the end of the run."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from workbench.errors import NotFound, Unavailable, WorkbenchError
from workbench_server.live import blocks

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from workbench_server.live.blocks import Page
    from workbench_server.live.table import State
    from workbench_server.live.topic import Topic


class Reader:
    """Follows a topic; it pulls pages when it has sent the last one, so nothing piles up for it."""

    def __init__(self, topic: Topic, *, key: str, after: int, heartbeat_s: float) -> None:
        self.topic = topic
        self.key = key
        self.seq = after
        self.is_stopping = False
        self.refusal: WorkbenchError | None = None
        self._heartbeat_s = heartbeat_s

    def stop(self, refusal: WorkbenchError | None = None) -> None:
        """Let it say goodbye: why it may not go on or, without a reason, that the server stops."""
        self.refusal, self.is_stopping = refusal, True
        self.topic.stir()

    async def blocks(self, state: State) -> AsyncGenerator[bytes, None]:
        """Yield the stream's text until it is over; the last block says why."""
        yield blocks.opening(state)
        while True:
            changed = self.topic.changed
            if self.is_stopping:
                yield self._goodbye()
                return
            try:
                page = await self._next()
            except NotFound as error:
                yield blocks.problem(error)
                return
            if page is not None:
                for piece, seq in page.pieces():
                    yield piece
                    self.seq = seq
                continue
            state = self.topic.state or state
            if state.is_over and self.seq >= state.last_seq:
                yield blocks.end(state)
                return
            if not await self._woken(changed):
                yield blocks.heartbeat(self.topic.state or state)

    async def _next(self) -> Page | None:
        try:
            return await self.topic.after(self.seq)
        except Unavailable:
            # The stream stays; the hub wakes its readers when the database is back.
            return None

    async def _woken(self, changed: asyncio.Event) -> bool:
        try:
            async with asyncio.timeout(self._heartbeat_s):
                await changed.wait()
        except TimeoutError:
            return False
        return True

    def _goodbye(self) -> bytes:
        return blocks.problem(self.refusal) if self.refusal else blocks.shutdown(self.seq)
