"""What recording costs the agent, against a bare one, a floor and OpenTelemetry's spans."""

from __future__ import annotations

import functools
import json
import os
import random
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from figure import Figure, median, say
from langchain_core.tools import StructuredTool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stack import Stack

_ROUNDS = 5
_SUBJECTS = ("bare", "floor", "needed", "telemetry", "product")
_CAPTURING, _SINK = (Path(__file__).with_name(name) for name in ("capturing.py", "sink.py"))


def figures(stack: Stack) -> Iterator[Figure]:
    yield from _calls(stack)
    yield from _graph(stack)
    yield from _desk(stack)


# ---- plain calls


def _calls(stack: Stack) -> Iterator[Figure]:
    found: dict[str, list[dict]] = {subject: [] for subject in _SUBJECTS}
    with _sink() as url:
        for number in range(_ROUNDS):
            say(f"recording calls, round {number + 1} of {_ROUNDS}")
            for subject in _SUBJECTS:
                found[subject].append(_run(stack, subject, url))

    def added(subject: str, what: str) -> float:
        """Return µs a call over the bare call: the median round's mean."""
        return median(_mean(r[what]) for r in found[subject]) - median(
            _mean(r[what]) for r in found["bare"]
        )

    for name, what in (("sync", "sync"), ("async", "async")):
        mine = added("product", what)
        figure = f"recording a call, added on the caller's thread, bursts of 100, {name}"
        yield Figure(figure=figure, value=mine, unit="µs",
                     baseline="a floor: orjson, a queue, HTTP behind",
                     baseline_value=added("floor", what), wanted="<= 12 µs, <= 3 x")  # fmt: skip
        yield Figure(figure=figure, value=mine, unit="µs",
                     baseline="an OpenTelemetry span, BatchSpanProcessor",
                     baseline_value=added("telemetry", what), wanted="<= 0.33 x")  # fmt: skip
        yield Figure(figure=f"the same in a burst of 5,000, {name}",
                     value=added("product", f"{what}_long"), unit="µs",
                     baseline="an OpenTelemetry span, BatchSpanProcessor",
                     baseline_value=added("telemetry", f"{what}_long"))  # fmt: skip
    yield Figure(figure="the same in a burst of 5,000, sync, processor time of the caller's thread",
                 value=added("product", "thread_long"), unit="µs",
                 baseline="an OpenTelemetry span, BatchSpanProcessor",
                 baseline_value=added("telemetry", "thread_long"))  # fmt: skip
    yield Figure(figure="processor time of the agent's process for a recorded call",
                 value=_cpu(found, "product"), unit="µs",
                 baseline="an OpenTelemetry span, BatchSpanProcessor",
                 baseline_value=_cpu(found, "telemetry"), wanted="<= 30 µs")  # fmt: skip
    yield Figure(figure="processor time of the agent's process for a recorded call",
                 value=_cpu(found, "product"), unit="µs",
                 baseline="the least: each byte encoded, hashed, written and sent as the format says",
                 baseline_value=_cpu(found, "needed"))  # fmt: skip
    for name in found["product"][0]["parts"]:
        value = median(r["parts"].get(name, 0.0) for r in found["product"])
        if value >= 1:
            yield Figure(figure=f"of that, as the system counts: {name}", value=value, unit="µs",
                         baseline="all of it", baseline_value=_cpu(found, "product"))  # fmt: skip


def _cpu(found: dict[str, list[dict]], subject: str) -> float:
    return median(r["cpu"] for r in found[subject]) - median(r["cpu"] for r in found["bare"])


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _run(stack: Stack, subject: str, url: str) -> dict:
    environment = {
        **os.environ,
        "URL": url,
        "WORKBENCH_URL": stack.url,
        "WORKBENCH_API_KEY": stack.api_key,
    }
    done = subprocess.run(
        [sys.executable, str(_CAPTURING), subject],
        env=environment,
        stdout=subprocess.PIPE,
        check=True,
    )
    return json.loads(done.stdout)


@contextmanager
def _sink() -> Iterator[str]:
    """Run what takes whatever is sent, in a process of its own as a server is."""
    with subprocess.Popen([sys.executable, str(_SINK)], stdout=subprocess.PIPE) as process:
        try:
            yield process.stdout.readline().decode().strip()
        finally:
            process.terminate()


# ---- a graph of trivial nodes

_NODES, _RUNS, _GRAPH_ROUNDS = 5, 60, 30


def _trivial():
    from langgraph.graph import END, START, StateGraph

    graph = StateGraph(dict)
    names = [f"node_{number}" for number in range(_NODES)]
    for name in names:
        graph.add_node(name, lambda state: {"turn": state.get("turn", 0) + 1})
    for one, other in zip([START, *names], [*names, END], strict=True):
        graph.add_edge(one, other)
    return graph.compile()


def _graph(stack: Stack) -> Iterator[Figure]:
    import workbench as wb
    from workbench.store import connect

    compiled = _trivial()

    def runs(_=None) -> float:
        began = time.perf_counter()
        for _ in range(_RUNS):
            compiled.invoke({"turn": 0})
        return (time.perf_counter() - began) / (_RUNS * _NODES) * 1e6

    bare, least, mine = [], [], []
    rooted = wb.root(runs)
    with connect(stack.url, stack.api_key) as store, _sink() as url:
        runs()
        for number in range(_GRAPH_ROUNDS):
            say(f"a graph of trivial nodes, round {number + 1} of {_GRAPH_ROUNDS}")
            bare.append(runs())
            with _least_nodes(url):
                least.append(runs())
            with wb.record(store, name="trivial nodes"):
                mine.append(rooted(None))
    figure = "a node of a LangGraph run of trivial nodes, recorded"
    yield Figure(figure=figure, value=median(mine), unit="µs", baseline="the same, bare",
                 baseline_value=median(bare), wanted="<= 1.15 x")  # fmt: skip
    yield Figure(figure=figure, value=median(mine), unit="µs",
                 baseline="the least: its two events encoded, hashed, written and sent",
                 baseline_value=median(least))  # fmt: skip


@contextmanager
def _least_nodes(url: str) -> Iterator[None]:
    """Keep of each node that it was visited and what it changed, and nothing else."""
    import orjson
    from langgraph.pregel import _runner
    from least import Least

    least, original = Least(url), _runner.run_with_retry

    def run(task, *args, **kwargs):
        value = original(task, *args, **kwargs)
        changed = [channel for channel, _ in task.writes if not channel.startswith("branch:")]
        least.take(orjson.dumps(changed), orjson.dumps(task.name))
        return value

    _runner.run_with_retry = run
    try:
        yield
    finally:
        _runner.run_with_retry = original
        least.close()


# ---- the example agent with calls of 20 ms

_CALL_S = 0.02


def _desk(stack: Stack) -> Iterator[Figure]:
    import workbench as wb
    from workbench.store import connect

    agent, question = _slow_desk()

    def asked(_=None) -> float:
        random.seed(7)  # what its tools draw
        began = time.perf_counter()
        agent.invoke(question)
        return (time.perf_counter() - began) * 1e3

    bare, mine, whole = [], [], []
    rooted = wb.root(asked)
    with connect(stack.url, stack.api_key) as store:
        asked()
        for number in range(2 * _ROUNDS):
            say(f"the example agent with calls of 20 ms, round {number + 1} of {2 * _ROUNDS}")
            bare.append(asked())
            began = time.perf_counter()
            with wb.record(store, name="desk"):
                mine.append(rooted(None))
            whole.append((time.perf_counter() - began) * 1e3)
    yield Figure(figure="the example agent with calls of 20 ms, recorded", value=median(mine),
                 unit="ms", baseline="the same, bare", baseline_value=median(bare),
                 wanted="<= 1.02 x")  # fmt: skip
    yield Figure(figure="the same, until all of it is stored and can be read", value=median(whole),
                 unit="ms", baseline="the same, bare", baseline_value=median(bare))  # fmt: skip


def _slow_desk():
    """Return the example agent, each of its calls as slow as one over a network, and a question."""
    from workbench.examples.support_desk import build, draw_case, tools
    from workbench.examples.support_desk.knowledge import KnowledgeBase
    from workbench.examples.support_desk.model import OfflineChatModel

    def slowed(function):
        @functools.wraps(function)
        def slow(*args, **kwargs):
            time.sleep(_CALL_S)
            return function(*args, **kwargs)

        return slow

    for owner in (OfflineChatModel, KnowledgeBase):
        name = "_generate" if owner is OfflineChatModel else "_get_relevant_documents"
        setattr(owner, name, slowed(getattr(owner, name)))
    for tool in vars(tools).values():
        if isinstance(tool, StructuredTool):
            tool.func = slowed(tool.func)
    # at temperature 0 it goes the same way each time
    model = OfflineChatModel(temperature=0.0)
    return build(model), draw_case(random.Random(7), intent="parcel").input
