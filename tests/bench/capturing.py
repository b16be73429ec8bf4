"""One subject's calls, timed in a process of its own: ``python tests/bench/capturing.py SUBJECT``.

The subjects are the product, a floor that only serialises and sends behind, the least that sealed
events need, and OpenTelemetry's batching span processor; each call takes a text of 1 kB and gives
one back. ``URL`` in the environment is where all but the product send to. What was measured is one
line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time
import urllib.request
from collections import deque
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

TEXT = "what the model was asked and what it said of it ".ljust(50) * 20  # 1 kB
ROOTS, BURST, LONG = 20, 100, 5000


def answer(question: str, turn: int) -> dict[str, object]:
    """Stands for a model: it is the recording that is timed."""
    return {"text": question, "turn": turn}


async def async_answer(question: str, turn: int) -> dict[str, object]:
    """As `answer`."""
    return {"text": question, "turn": turn}


# ---- subjects: (a context for each root, the function, its asynchronous twin, how to end)


def bare():
    return nullcontext, answer, async_answer, lambda: None


def product():
    import workbench as wb
    from workbench.store import connect

    store = connect(os.environ["WORKBENCH_URL"], os.environ["WORKBENCH_API_KEY"])
    decorate = wb.call(kind="model", effect="read")

    @wb.root
    def turn(job):
        return job()

    @contextmanager
    def root():
        with wb.record(store, name="bench"):
            yield

    product.inside = turn
    return root, decorate(answer), decorate(async_answer), store.close


def floor():
    import orjson

    waiting: deque[bytes] = deque()
    over = threading.Event()

    def send():
        while waiting or not over.is_set():
            over.wait(0.02)
            lines = [waiting.popleft() for _ in range(len(waiting))]
            if lines:
                request = urllib.request.Request(os.environ["URL"], b"\n".join(lines))
                urllib.request.urlopen(request).read()

    thread = threading.Thread(target=send)
    thread.start()

    def keep(question, turn, value):
        waiting.append(orjson.dumps({"question": question, "turn": turn}))
        waiting.append(orjson.dumps(value))

    def end():
        over.set()
        thread.join()

    return nullcontext, *_keeping(keep), end


def needed():
    import orjson
    from least import Least

    least = Least(os.environ["URL"])

    def keep(question, turn, value):
        asked = orjson.dumps({"question": question, "turn": turn}, option=orjson.OPT_SORT_KEYS)
        least.take(asked, orjson.dumps(value))

    return nullcontext, *_keeping(keep), least.close


def _keeping(keep):
    """Return `answer` and its twin, each call kept."""

    def call(question, turn):
        value = answer(question, turn)
        keep(question, turn, value)
        return value

    async def async_call(question, turn):
        value = await async_answer(question, turn)
        keep(question, turn, value)
        return value

    return call, async_call


def telemetry():
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider()
    # a queue that never overflows: what is dropped costs nothing
    exporter = OTLPSpanExporter(endpoint=os.environ["URL"])
    provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=200_000))
    tracer = provider.get_tracer("bench")

    def call(question, turn):
        with tracer.start_as_current_span("answer") as span:
            span.set_attribute("input", json.dumps({"question": question, "turn": turn}))
            value = answer(question, turn)
            span.set_attribute("output", json.dumps(value))
        return value

    async def async_call(question, turn):
        with tracer.start_as_current_span("answer") as span:
            span.set_attribute("input", json.dumps({"question": question, "turn": turn}))
            value = await async_answer(question, turn)
            span.set_attribute("output", json.dumps(value))
        return value

    return nullcontext, call, async_call, provider.shutdown


SUBJECTS = {
    "bare": bare,
    "product": product,
    "floor": floor,
    "needed": needed,
    "telemetry": telemetry,
}


# ---- what is timed


def burst(call, count):
    """Return the seconds that some calls take on the caller's thread, and their processor time."""
    texts = [TEXT + str(number) for number in range(count)]
    began, used = time.perf_counter(), time.thread_time()
    for number, text in enumerate(texts):
        call(text, number)
    return time.perf_counter() - began, time.thread_time() - used


async def async_burst(call, count):
    """As `burst`, each call awaited."""
    texts = [TEXT + str(number) for number in range(count)]
    began, used = time.perf_counter(), time.thread_time()
    for number, text in enumerate(texts):
        await call(text, number)
    return time.perf_counter() - began, time.thread_time() - used


def timed(root, job):
    with root():
        inside = getattr(product, "inside", None)
        return job() if inside is None else inside(job)


def parts(call):
    """Return the µs of processor time a call takes on each thread, and in the kernel for all."""
    before = _threads()
    burst(call, LONG)
    time.sleep(1)  # until it is sent
    names = {thread.native_id: thread.name for thread in threading.enumerate()}
    found = {"in the kernel, of all threads": 0.0}
    for thread, (user, kernel) in _threads().items():
        own_user, own_kernel = before.get(thread, (0, 0))
        name = names.get(thread, "others")
        found[name] = found.get(name, 0.0) + (user - own_user) / LONG
        found["in the kernel, of all threads"] += (kernel - own_kernel) / LONG
    return found


def _threads():
    tick_us = 1e6 / os.sysconf("SC_CLK_TCK")
    found = {}
    for thread in Path("/proc/self/task").iterdir():
        with suppress(OSError):  # it has ended meanwhile
            fields = (thread / "stat").read_text().rpartition(")")[2].split()
            found[int(thread.name)] = int(fields[11]) * tick_us, int(fields[12]) * tick_us
    return found


def main(subject: str) -> None:
    root, call, async_call, end = SUBJECTS[subject]()
    timed(root, lambda: burst(call, BURST))  # warm

    def both(count):
        return (
            timed(root, lambda: burst(call, count)),
            timed(root, lambda: asyncio.run(async_burst(async_call, count))),
        )

    short = [both(BURST) for _ in range(ROOTS)]
    before = time.process_time()
    long = [both(LONG) for _ in range(2)]
    used_by = timed(root, lambda: parts(call)) if subject == "product" else {}
    before += sum(used_by.values()) * LONG / 1e6
    end()
    used = time.process_time() - before
    print(
        json.dumps(
            {
                "sync": [1e6 * one[0] / BURST for one, _ in short],
                "async": [1e6 * one[0] / BURST for _, one in short],
                "sync_long": [1e6 * one[0] / LONG for one, _ in long],
                "async_long": [1e6 * one[0] / LONG for _, one in long],
                "thread_long": [1e6 * one[1] / LONG for one, _ in long],
                "parts": used_by,
                "cpu": 1e6 * used / (2 * 2 * LONG),
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1])
