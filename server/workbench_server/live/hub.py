"""Where commits are announced and followers wait: topics, wake-ups, and the look each second."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING

import psycopg

from workbench.errors import Unauthenticated, WorkbenchError
from workbench_server.live.bell import Bell, mark_of
from workbench_server.live.reader import Reader
from workbench_server.live.table import states
from workbench_server.live.topic import Topic

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
    from uuid import UUID

    from workbench_server.access import Caller, Keys
    from workbench_server.database import Pool
    from workbench_server.live.pace import Pace

_PASSING = (WorkbenchError, psycopg.Error, OSError)
_READS_AT_ONCE = 6  # of the pool's connections, however many readers come back at once

_log = logging.getLogger("workbench.live")


class Hub:
    """The followers of one process; `running` keeps its three tasks alive."""

    def __init__(self, pool: Pool, keys: Keys, *, url: str, pace: Pace) -> None:
        self.pace = pace
        self._pool, self._keys = pool, keys
        self._bell = Bell(url, self._heard)
        self._topics: dict[tuple[UUID, UUID], Topic] = {}
        self._by_mark: dict[str, Topic] = {}
        self._readers: set[Reader] = set()
        self._at_once = asyncio.Semaphore(_READS_AT_ONCE)
        self.stopping = asyncio.Event()

    @property
    def streams(self) -> int:
        """How many streams are open."""
        return len(self._readers)

    def announce(self, workspace_id: UUID, run_id: UUID) -> None:
        """Say, on the loop's thread, that a commit changed a run; it costs next to nothing."""
        place = (workspace_id, run_id)
        if topic := self._topics.get(place):
            topic.wake()
        if self.pace.listen:
            self._bell.ring(place)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Listen, ring and look while the server runs; readers are let go at the end."""
        work = [self._forever(self._look, self.pace.poll_s)]
        work.append(self._forever(self._recheck, self.pace.recheck_s))
        if self.pace.listen:
            work += [self._bell.listen(), self._bell.flush()]
        tasks = [asyncio.ensure_future(one) for one in work]
        for task in tasks:
            task.add_done_callback(_say_why)
        try:
            yield
        finally:
            self.stop()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def stop(self) -> None:
        """Tell every reader that this server stops."""
        self.stopping.set()
        for reader in self._readers:
            reader.stop()

    @contextmanager
    def following(self, caller: Caller, *, run_id: UUID, key: str, after: int) -> Iterator[Reader]:
        """Give a reader of a run, and forget it afterwards."""
        topic = self._enter(caller.workspace_id, run_id)
        reader = Reader(topic, key=key, after=after, heartbeat_s=self.pace.heartbeat_s)
        reader.is_stopping = self.stopping.is_set()
        self._readers.add(reader)
        try:
            yield reader
        finally:
            self._readers.discard(reader)
            self._leave(topic)

    def _enter(self, workspace_id: UUID, run_id: UUID) -> Topic:
        place = (workspace_id, run_id)
        topic = self._topics.get(place)
        if topic is None:
            topic = Topic(self._pool, workspace_id, run_id=run_id, at_once=self._at_once)
            self._topics[place] = self._by_mark[mark_of(place)] = topic
        topic.readers += 1
        return topic

    def _leave(self, topic: Topic) -> None:
        place = (topic.workspace_id, topic.run_id)
        topic.readers -= 1
        if not topic.readers:
            del self._topics[place], self._by_mark[mark_of(place)]

    def _heard(self, marks: Iterable[str] | None) -> None:
        """Another process changed runs; without marks, nobody knows which."""
        if marks is None:
            woken: Iterable[Topic] = self._topics.values()
        else:
            woken = filter(None, map(self._by_mark.get, marks))
        for topic in woken:
            topic.wake()

    async def _forever(self, work: Callable[[], Awaitable[None]], each_s: float) -> None:
        while True:
            await asyncio.sleep(each_s)
            with suppress(*_PASSING):
                await work()

    async def _look(self) -> None:
        """Hold what is known of each followed run against the table, which is the truth."""
        followed: dict[UUID, list[Topic]] = defaultdict(list)
        for topic in self._topics.values():
            followed[topic.workspace_id].append(topic)
        for workspace_id, topics in followed.items():
            found = await states(self._pool, workspace_id, [topic.run_id for topic in topics])
            for topic in topics:
                topic.learn(found.get(topic.run_id))

    async def _recheck(self) -> None:
        """Let those go whose key was revoked or has expired since they came."""
        by_key: dict[str, list[Reader]] = defaultdict(list)
        for reader in self._readers:
            by_key[reader.key].append(reader)
        for key, readers in by_key.items():
            caller = await self._keys.caller(key)
            for reader in readers:
                if caller is None or caller.workspace_id != reader.topic.workspace_id:
                    reader.stop(Unauthenticated("the API key was revoked or has expired"))


def _say_why(task: asyncio.Future[None]) -> None:
    """Nobody awaits these tasks before the end: one that fails must not do so in silence."""
    if not task.cancelled() and (error := task.exception()):
        _log.error("looking after followers has stopped", exc_info=error)
