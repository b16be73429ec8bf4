"""Follow a run: new events as frames, across broken connections and restarted servers."""

from __future__ import annotations

import random
import socket
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self, cast

import msgspec

from workbench import frames
from workbench.errors import RateLimited, Unavailable, WorkbenchError
from workbench.store.sse import Block, Blocks

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator
    from types import TracebackType

    import httpx
    import polars as pl

    from workbench.schema import Event
    from workbench.store.wire import Wire

_FAR_BEHIND = 2_000
_FRAME_EVENTS = 20_000
_SILENCE_S = 45.0  # a server says something every ten seconds
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 5.0

# Of a newer server's event, what is not known here is left out.
_KINDS: dict[str, Any] = {"payload": msgspec.Raw, "started_at": datetime, "received_at": datetime}
_Row = msgspec.defstruct("_Row", [(name, _KINDS.get(name, Any), None) for name in frames.EVENTS])
_rows = msgspec.json.Decoder(list[_Row])  # type: ignore[valid-type]


class Following:
    """The new events of a run: an iterator of frames with the columns `workbench.frames.EVENTS`.

    It ends when the run has ended and nothing of it is missing, after ``timeout`` seconds, or when
    somebody calls `close`, from whichever thread. Every event comes once, in order of ``seq``.

    Attributes
    ----------
    run_id
        The run's id.
    """

    def __init__(self, source: Source, run_id: str, *, after: int, timeout: float | None) -> None:
        self.run_id = run_id
        self._line = _Line(source, run_id, after=after)
        self._frames = self._line.frames(timeout)

    def __repr__(self) -> str:
        return f"<Following {self.run_id} {self.status or ''} seq {self.seq}>"

    @property
    def seq(self) -> int:
        """The last event that was given: where another `follow` can go on with ``after``."""
        return self._line.seq

    @property
    def status(self) -> str | None:
        """The run's status as the server last said it; null before it said anything."""
        return self._line.status

    @property
    def has_ended(self) -> bool:
        """Whether the run has ended and every event was given."""
        return self._line.has_ended

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> pl.DataFrame:
        return next(self._frames)

    def close(self) -> None:
        """End it and its connection; a thread that waits for a frame is let go."""
        self._line.stop()
        # Where another thread is inside, it leaves by itself.
        with suppress(ValueError):
            self._frames.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What a follower needs of a store: its wire, pages of events, and how far the run was.

    A server that stays away for longer than ``patience_s`` is given up.
    """

    wire: Wire
    events: Callable[..., pl.DataFrame]
    last_seq: int = 0
    patience_s: float = 300.0


class _Line:
    """The connection of a follower, made anew as often as it breaks."""

    def __init__(self, source: Source, run_id: str, *, after: int) -> None:
        self.seq = after
        self.status: str | None = None
        self.has_ended = False
        self._source = source
        self._run_id = run_id
        self._last_seq = source.last_seq
        self._stopped = threading.Event()
        self._socket: socket.socket | None = None
        self._refusal: WorkbenchError | None = None
        self._retry_s = _FIRST_PAUSE_S
        self._failures = 0
        self._failing_since = 0.0

    def stop(self) -> None:
        self._stopped.set()
        if (held := self._socket) is not None:
            # Wakes a thread that waits in it; to close it is that thread's business.
            with suppress(OSError):
                held.shutdown(socket.SHUT_RDWR)

    def frames(self, timeout: float | None) -> Generator[pl.DataFrame, None, None]:
        with self._stopped_after(timeout):
            while not self._is_over:
                try:
                    yield from self._pages() if self._is_far_behind else self._stream()
                except WorkbenchError as error:
                    if not self._stopped.is_set():
                        self._bear(error)
                if not (self._is_over or self._is_far_behind):
                    self._stopped.wait(self._pause_s())

    @property
    def _is_over(self) -> bool:
        return self.has_ended or self._stopped.is_set()

    @property
    def _is_far_behind(self) -> bool:
        return not self._failures and self._last_seq - self.seq > _FAR_BEHIND

    @contextmanager
    def _stopped_after(self, timeout: float | None) -> Iterator[None]:
        if timeout is None:
            yield
            return
        timer = threading.Timer(timeout, self.stop)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _pages(self) -> Iterator[pl.DataFrame]:
        """Much that lies there already is read as columns, not event by event."""
        while self._is_far_behind and not self._is_over:
            frame = self._source.events(self._run_id, after=self.seq, limit=_FRAME_EVENTS)
            if frame.height:
                self.seq = int(frame["seq"][-1])
            if frame.height < _FRAME_EVENTS:
                self._last_seq = self.seq
            if frame.height:
                yield frame

    def _stream(self) -> Iterator[pl.DataFrame]:
        path = f"/v1/runs/{self._run_id}/events/stream"
        headers = {"Last-Event-ID": str(self.seq), "Accept": "text/event-stream"}
        with self._source.wire.stream(path, headers=headers, silence_s=_SILENCE_S) as response:
            self._hold(response)
            try:
                blocks = Blocks()
                for data in response.iter_bytes():
                    yield from self._taken(blocks.feed(data))
                    if self.has_ended or self._is_far_behind:
                        return
            finally:
                self._socket = None

    def _hold(self, response: httpx.Response) -> None:
        self._socket = response.extensions["network_stream"].get_extra_info("socket")
        if self._stopped.is_set():
            self.stop()

    def _taken(self, blocks: Iterable[Block]) -> Iterator[pl.DataFrame]:
        """Yield the blocks' events as one frame, if there are any, and heed the others."""
        self._failures = 0
        events: list[bytes] = []
        for block in blocks:
            if block.retry:
                self._retry_s = int(block.retry) / 1000
            if block.id:
                events += self._next_event(block)
            elif block.name:
                self._heed(block)
        if events:
            rows = _rows.decode(b"[%b]" % b",".join(events))
            yield frames.from_events(cast("Iterable[Event]", rows))
        if self._refusal:
            raise self._refusal

    def _next_event(self, block: Block) -> list[bytes]:
        seq = int(block.id)
        if seq > self.seq + 1:
            raise Unavailable("events were lost on the way", expected=self.seq + 1, found=seq)
        if seq <= self.seq:
            return []
        self.seq = seq
        return [block.data]

    def _heed(self, block: Block) -> None:
        facts = msgspec.json.decode(block.data, type=dict[str, Any])
        match block.name:
            case b"heartbeat" | b"end":
                self.status = facts["status"]
                self._last_seq = facts["last_seq"]
                self.has_ended = block.name == b"end"
            case b"problem":
                self._refusal = WorkbenchError.from_problem(facts)

    def _bear(self, error: WorkbenchError) -> None:
        """Go on after what passes by itself, for as long as patience lasts; raise the rest."""
        now = time.monotonic()
        if not self._failures:
            self._failing_since = now
        lasts = now - self._failing_since < self._source.patience_s
        if not (lasts and isinstance(error, (Unavailable, RateLimited))):
            raise error
        self._failures += 1

    def _pause_s(self) -> float:
        longest = min(_FIRST_PAUSE_S * 2**self._failures, _LONGEST_PAUSE_S)
        return max(self._retry_s, random.uniform(longest / 2, longest))
