"""Fifty mixed requests a second against a store of a few thousand runs.

The schedule is open: each request has a moment at which it is due, and its time counts from then,
whether or not those before it are answered. The baseline is a bare FastAPI route that answers a
constant to the same requests on the same schedule.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from typing import TYPE_CHECKING

import events as made
import httpx
from bare import serving
from figure import Figure, percentile, say

from workbench import hashing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stack import Stack

_RUNS = 3_000
_RUNS_AT_ONCE = 100
_A_SECOND = 50
_SECONDS = 30
_WARM_UP_S = 4
_CONNECTIONS = 16
_WORDS = ("invoice", "refund", "delivery", "password", "warranty", "firmware")
_ROUTES = ("health", "list", "list_filtered", "search", "get", "events", "append", "label")


def figures(stack: Stack) -> Iterator[Figure]:
    say(f"storing {_RUNS} runs")
    runs = _fill(stack)
    _wait_for_search(stack)
    with serving() as bare:
        say(f"{_A_SECOND} requests a second for {_SECONDS} s, bare, then the product")
        floor = asyncio.run(_measure(bare, {}, _requests(runs, seed=1)))
        waits = asyncio.run(_measure(stack.url, stack.headers, _requests(runs, seed=2)))
    yield _figure("API p95 under 50 mixed requests/s", waits, floor, 0.95, wanted="≤ 100 ms")
    yield _figure("API p50 under 50 mixed requests/s", waits, floor, 0.5)
    yield _figure("API p99 under 50 mixed requests/s", waits, floor, 0.99)
    for route in _ROUTES:
        one, same = ([w for w in some if w[0] == route] for some in (waits, floor))
        yield _figure(f"API p95, {route}", one, same, 0.95)


def _figure(name, waits, floor, share, *, wanted=None) -> Figure:
    return Figure(
        figure=name,
        value=percentile([wait for _, wait in waits], share) * 1000,
        unit="ms",
        baseline="a bare FastAPI route, same schedule",
        baseline_value=percentile([wait for _, wait in floor], share) * 1000,
        wanted=wanted,
    )


# ---- the store


def _fill(stack: Stack) -> list[str]:
    """Store runs of a model call each, and one of a thousand events."""
    ids = []
    with stack.client() as client:
        for first in range(0, _RUNS, _RUNS_AT_ONCE):
            entries, bodies = [], {}
            for number in range(first, first + _RUNS_AT_ONCE):
                entry, said = _run(number)
                entries.append(entry)
                bodies |= said
            answer = client.post("/batches", json={"runs": entries, "bodies": bodies})
            ids += [run["run_id"] for run in answer.raise_for_status().json()["runs"]]
        long = client.post("/runs", json={"name": "long"}).raise_for_status().json()["run_id"]
        for batch in made.batches(made.made(1_000), size=100):
            client.post(f"/runs/{long}/events", content=batch).raise_for_status()
    return [*ids, long]


def _run(number: int) -> tuple[dict, dict]:
    message = {"role": "user", "content": f"{_WORDS[number % 6]} {number} {_WORDS[number % 5]}"}
    digest = hashing.digest_of(message)
    call = {"writer": "w", "step_id": "s", "kind": "model", "name": "m", "lane": "root"}
    outcome = {"outcome": {"value": 1}}
    events = [
        {"event_type": "run_started", "writer": "w", "writer_seq": 1, "payload": {"input": number}},
        call
        | {"event_type": "call_started", "writer_seq": 2, "status": "running"}
        | {"payload": {"request": {"messages": [digest], "model": "m"}}},
        call | {"event_type": "call_ended", "writer_seq": 3, "status": "ok", "payload": outcome},
        {"event_type": "run_ended", "writer": "w", "writer_seq": 4, "status": "done"}
        | {"payload": {"output": "x", "writers": {"w": 4}}},
    ]
    header = {
        "name": f"{_WORDS[number % 6]}-{number}",
        "agent": f"agent-{number % 7}",
        "session": f"s-{number % 50}",
        "labels": {"kind": _WORDS[number % 6], "number": number},
    }
    return {"header": header, "events": events}, {digest: message}


def _wait_for_search(stack: Stack) -> None:
    """Wait until the worker has taken the words out of the messages."""
    with stack.client() as client:
        while client.get("/snapshots").json()["pending"]:
            time.sleep(0.5)


# ---- the requests


def _requests(runs: list[str], *, seed: int) -> list[tuple[str, str, str, dict]]:
    """Return the mix in its order: name, method, address, and what more the client is told."""
    chance = random.Random(seed)
    *some, long = runs
    count = _A_SECOND * (_SECONDS + _WARM_UP_S)
    appended = iter(made.batches(made.made(10 * count, writer=f"api-{seed}"), size=10))
    arrow = {"accept": "application/vnd.apache.arrow.stream"}

    def narrowed():
        label = f"kind:{chance.choice(_WORDS)}"
        return {"limit": 50, "label": label, "sort": "duration_ms", "status": "done"}

    def labelled():
        return json.dumps({"labels": {"seen": chance.randrange(9)}})

    made_of = {
        "health": lambda: ("GET", "/health", {}),
        "list": lambda: ("GET", "/runs?limit=50", {}),
        "list_filtered": lambda: ("GET", "/runs", {"params": narrowed()}),
        "search": lambda: ("GET", "/runs", {"params": {"limit": 50, "q": chance.choice(_WORDS)}}),
        "get": lambda: ("GET", f"/runs/{chance.choice(some)}", {}),
        "events": lambda: (
            "GET",
            f"/runs/{long}/events?limit=500&columns=timeline",
            {"headers": arrow},
        ),
        "append": lambda: ("POST", f"/runs/{long}/events", {"content": next(appended)}),
        "label": lambda: ("PATCH", f"/runs/{chance.choice(some)}", {"content": labelled()}),
    }
    names = (_ROUTES[number % len(_ROUTES)] for number in range(count))
    return [(name, *made_of[name]()) for name in names]


async def _measure(url: str, headers: dict, requests: list) -> list[tuple[str, float]]:
    """Send each request when it is due; return name and seconds of those after the warm-up."""
    waits: list[tuple[str, float]] = []
    limits = httpx.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=_CONNECTIONS)
    base = f"{url}/v1"
    async with httpx.AsyncClient(base_url=base, headers=headers, limits=limits, timeout=60) as http:
        begun = time.perf_counter() + 0.5

        async def send(number: int, name: str, method: str, path: str, more: dict) -> None:
            due = begun + number / _A_SECOND
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            answer = await http.request(method, path, **more)
            waited = time.perf_counter() - due
            answer.raise_for_status()
            if number >= _A_SECOND * _WARM_UP_S:
                waits.append((name, waited))

        # A writer's batches have to arrive in their order, so those of one writer wait in line.
        line = asyncio.Lock()

        async def in_line(number: int, *one) -> None:
            if one[0] != "append":
                await send(number, *one)
                return
            async with line:
                await send(number, *one)

        await asyncio.gather(*(in_line(number, *one) for number, one in enumerate(requests)))
    return waits
