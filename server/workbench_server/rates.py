"""How fast a workspace may ask: token buckets with a burst, in this process alone."""

from __future__ import annotations

import time
from contextlib import contextmanager
from math import ceil
from typing import TYPE_CHECKING

from workbench.errors import RateLimited

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from uuid import UUID

    from workbench_server.access import Caller

BURST_S = 5.0  # as much as comes in so many seconds at the full rate may come at once
_STREAM_RETRY_S = 5


class Meter:
    """What one workspace has taken: each bucket is the time at which it will be full again."""

    __slots__ = ("bytes", "events", "requests", "streams")

    def __init__(self) -> None:
        self.requests = 0.0
        self.events = 0.0
        self.bytes = 0.0
        self.streams = 0


class Rates:
    """Lets workspaces in, or tells them when to come back.

    Whoever finds anything left in a bucket takes what it needs, also more than is left; the next
    one waits until that is made up for. So the largest batch gets through at any rate, and the mean
    holds nevertheless.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._meters: dict[UUID, Meter] = {}

    def admit(
        self,
        caller: Caller,
        *,
        events: int = 0,
        bytes: int = 0,  # noqa: A002 - the unit is the name
        requests: int = 0,
    ) -> None:
        """Take so much out of the workspace's buckets, or refuse and take nothing."""
        meter, limits = self._meter(caller), caller.limits
        now = self._clock()
        latest = now + BURST_S
        if requests and meter.requests > latest:
            raise _refused("requests_per_s", limits.requests_per_s, meter.requests - latest)
        if events and meter.events > latest:
            raise _refused("events_per_s", limits.events_per_s, meter.events - latest)
        if bytes and meter.bytes > latest:
            raise _refused("bytes_per_s", limits.bytes_per_s, meter.bytes - latest)
        if requests:
            meter.requests = max(now, meter.requests) + requests / limits.requests_per_s
        if events:
            meter.events = max(now, meter.events) + events / limits.events_per_s
        if bytes:
            meter.bytes = max(now, meter.bytes) + bytes / limits.bytes_per_s

    def check(self, caller: Caller) -> None:
        """Refuse before a body is read what its events or bytes would be refused for."""
        meter, limits = self._meter(caller), caller.limits
        latest = self._clock() + BURST_S
        if meter.events > latest:
            raise _refused("events_per_s", limits.events_per_s, meter.events - latest)
        if meter.bytes > latest:
            raise _refused("bytes_per_s", limits.bytes_per_s, meter.bytes - latest)

    @contextmanager
    def stream(self, caller: Caller) -> Iterator[None]:
        """Count a stream as open, or refuse it."""
        meter, most = self._meter(caller), caller.limits.streams
        if meter.streams >= most:
            raise RateLimited(
                "too many streams of this workspace are open",
                expected=f"at most {most} at once",
                found=meter.streams,
                hint="Close a stream first, or let an admin raise the limit.",
                limit="streams",
                retry_after=_STREAM_RETRY_S,
            )
        meter.streams += 1
        try:
            yield
        finally:
            meter.streams -= 1

    def _meter(self, caller: Caller) -> Meter:
        meter = self._meters.get(caller.workspace_id)
        if meter is None:
            meter = self._meters[caller.workspace_id] = Meter()
        return meter


def _refused(limit: str, rate: int, wait_s: float) -> RateLimited:
    unit = limit.removesuffix("_per_s")
    return RateLimited(
        "the workspace asks for more than its limit",
        expected=f"at most {rate} {unit} a second",
        found=f"{round((wait_s + BURST_S) * rate)} {unit} not yet made up for",
        hint="Send it again after retry_after seconds, or let an admin raise the limit.",
        limit=limit,
        retry_after=max(1, ceil(wait_s)),
    )
