"""Events of random words, 1.6 kB each as JSON: what the ingest figures are measured with."""

from __future__ import annotations

import random

import msgspec

from workbench.hashing import dumps, sealed, signature_of
from workbench.schema import Event

_START = "2026-03-01T12:{:02}:{:02}.{:06}Z"


def words(rng: random.Random, *, count: int = 4000) -> list[str]:
    letters = "abcdefghijklmnopqrstuvwxyz"
    return ["".join(rng.choices(letters, k=rng.randint(3, 10))) for _ in range(count)]


def made(count: int, *, writer: str = "w", seed: int = 1) -> list[bytes]:
    """Return a writer's first events as JSON: tool calls, each a start and an end."""
    rng = random.Random(seed)
    known = words(rng)
    return [_one(rng, known, number, writer) for number in range(1, count + 1)]


def _one(rng: random.Random, known: list[str], number: int, writer: str) -> bytes:
    starts = number % 2 == 1

    def text(count: int) -> str:
        return " ".join(rng.choices(known, k=count))

    documents = [{"id": rng.randrange(10**6), "title": text(4), "text": text(48)} for _ in range(3)]
    value = {"query": text(12), "documents": documents}
    body = {"request": {"arguments": value}} if starts else {"outcome": {"value": value}}
    step = (number + 1) // 2
    event = Event(
        event_type="call_started" if starts else "call_ended",
        writer=writer,
        writer_seq=number,
        step_id=f"{writer}-{step}",
        parent_step_id=f"{writer}-turn-{step // 4}",
        kind="tool",
        name=f"tool_{step % 7}",
        lane="root/agent",
        ordinal=step,
        status="running" if starts else "ok",
        effect="read" if starts else None,
        started_at=msgspec.convert(
            _START.format(step // 60 % 60, step % 60, rng.randrange(10**6)), type=_datetime()
        ),
        duration_ms=None if starts else round(rng.uniform(1, 900), 3),
        signature=signature_of(kind="tool", name="t", request=body["request"]) if starts else None,
        content_hash=None if starts else rng.getrandbits(62),
        payload=msgspec.Raw(dumps(body)),
    )
    return msgspec.json.encode(sealed(event))


def _datetime():
    from datetime import datetime

    return datetime


def batches(events: list[bytes], *, size: int) -> list[bytes]:
    """Return the bodies of the requests that send these events."""
    cuts = range(0, len(events), size)
    return [b'{"events":[' + b",".join(events[i : i + size]) + b"]}" for i in cuts]
