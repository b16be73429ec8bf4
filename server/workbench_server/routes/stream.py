"""Follow a run: what is there, then what comes, until the run ends."""

import asyncio
from collections.abc import Coroutine
from contextlib import aclosing
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response
from starlette.types import Receive, Scope, Send

from workbench.errors import UsageError
from workbench_server.access import Caller, Reader, key_of
from workbench_server.live import blocks
from workbench_server.live.reader import Reader as Follower
from workbench_server.live.table import State, state_of
from workbench_server.runs import run_uuid

router = APIRouter(tags=["events"])

_LAST = 2**63 - 1
_GOODBYE_S = 1.0
_GRACE = 4
_HEADERS = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # a proxy that collects would hold events back
]


@router.get("/runs/{run_id}/events/stream")
async def stream_events(
    request: Request,
    caller: Reader,
    run_id: str,
    *,
    after: Annotated[int, Query(ge=0, le=_LAST)] = 0,
    last_event_id: Annotated[str | None, Header()] = None,
) -> Response:
    """Follow a run's events in order of seq, as server-sent events, until the run ends.

    A block with `id:` is an event of the run: `id` its seq, `event` its type, `data` the event as
    JSON. The first is the one after the header `Last-Event-ID`, else after the query's `after`. A
    block without `id:` is the stream's own: `heartbeat` (at the beginning, then after each silence
    of ten seconds: status, health and last_seq of the run), `end` (the run has ended, nothing is
    missing), `slow` (the reader fell behind and is let go), `shutdown` (this server stops) and
    `problem` (why it breaks off). After `slow` and `shutdown` come back with the last id.
    """
    state, key = request.app.state, key_of(request) or ""
    place = run_uuid(run_id)
    if last_event_id is not None:
        after = _seq(last_event_id)
    now = await state_of(state.pool, caller.workspace_id, run_id=place)
    if after > now.last_seq:
        raise UsageError(
            "the run has no such event yet",
            where="after" if last_event_id is None else "Last-Event-ID",
            expected=f"at most {now.last_seq}",
            found=after,
        )
    return _Stream(state, caller, run_id=place, key=key, after=after, now=now)


def _seq(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text[:20]) > _LAST:
        raise UsageError(
            "the header is no seq of an event",
            where="Last-Event-ID",
            expected="a whole number from 0",
            found=text[:80],
        )
    return int(text)


class _Stream(Response):
    """Sends what a follower yields, as fast as its reader takes it and no longer than it may."""

    def __init__(self, state: Any, caller: Caller, *, now: State, **wanted: Any) -> None:
        super().__init__(media_type="text/event-stream")
        self._state, self._caller = state, caller
        self._now, self._wanted = now, wanted
        self._is_whole = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        hub = self._state.hub
        with (
            self._state.rates.stream(self._caller),
            hub.following(self._caller, **self._wanted) as follower,
        ):
            await _first_of(self._send(follower, send), _gone(receive), _stopped(hub.stopping))
        if not self._is_whole:
            # What its reader did not take would lie here for as long as it stays connected.
            scope["extensions"]["workbench"]["abort"]()
            await _gone(receive)

    async def _send(self, follower: Follower, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        patience_s = self._state.hub.pace.patience_s
        async with aclosing(follower.blocks(self._now)) as text:
            async for block in text:
                if not await _is_taken(block, send=send, within_s=patience_s):
                    # It may still take what is on its way, and then reads why there is no more.
                    last = blocks.slow(follower.seq)
                    if not await _is_taken(last, send=send, within_s=_GRACE * patience_s):
                        return
                    break
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        self._is_whole = True


async def _is_taken(block: bytes, *, send: Send, within_s: float) -> bool:
    """Send a block; the server takes it when the reader has taken most of what came before."""
    try:
        async with asyncio.timeout(within_s):
            await send({"type": "http.response.body", "body": block, "more_body": True})
    except TimeoutError:
        return False
    return True


async def _first_of(*work: Coroutine[Any, Any, None]) -> None:
    """Do several things until one is done."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _stopped(stopping: asyncio.Event) -> None:
    """Leave a moment to say goodbye; a reader that does not listen holds nobody up."""
    await stopping.wait()
    await asyncio.sleep(_GOODBYE_S)
