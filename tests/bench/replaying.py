"""One replay, timed in a process of its own: ``python tests/bench/replaying.py SUBJECT ARGS``.

What was measured is one line of JSON; times are in seconds, memory in MB.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from pathlib import Path

import replayed

_WARM = 200


def record(folder: str, agent: str, count: str) -> dict[str, float]:
    """Record a run into a new folder."""
    from workbench.capture import agents
    from workbench.capture.record import record_into
    from workbench.schema import RunHeader
    from workbench.store import export

    found = agents.find_agent(agent)
    is_graph = hasattr(found.target, "invoke")
    call = agents.RootCall.of(
        found,
        {"turn": 0, "count": int(count)} if is_graph else int(count),
        entry=None,
        config={"recursion_limit": int(count) + 10} if is_graph else None,
        stream_mode=None,
    )
    sink = export.writer(folder, RunHeader(name="replayed", agent=agent))
    began = time.perf_counter()
    record_into(sink, found, call)
    while not Path(folder).exists():  # a recorder waits for so many events no longer than it may
        time.sleep(0.05)
    return {"whole": time.perf_counter() - began}


def replay(folder: str, *warm: str) -> dict[str, float]:
    """Replay a run exactly, after one that warms up."""
    import workbench as wb

    for one in warm:
        _replayed(wb, _run(one))
    run = _run(folder)
    began, used = time.perf_counter(), time.process_time()
    result = _replayed(wb, run)
    took, worked = time.perf_counter() - began, time.process_time() - used
    return {"whole": took, "own": _own(result.output), "cpu": worked, "peak": _peak()}


def bare(agent: str, count: str) -> dict[str, float]:
    """Let an agent do the same with nothing in between."""
    module, _, name = agent.partition(":")
    target = getattr(importlib.import_module(module), name)

    def made(number: int) -> None:
        if hasattr(target, "invoke"):
            target.invoke({"turn": 0, "count": number}, {"recursion_limit": number + 10})
        else:
            target(number)

    made(_WARM)
    began = time.perf_counter()
    made(int(count))
    whole = time.perf_counter() - began
    return {"whole": whole, "own": _own(None) if hasattr(target, "invoke") else whole}


def first(folder: str, strength: str, again: str) -> dict[str, float]:
    """Tell how long it takes from ``wb.replay(…)`` to the first call that came back."""
    import workbench as wb

    run, isolate = _run(folder), strength == "isolated"
    for _ in range(int(again)):
        wb.replay(run, isolate=isolate)
    began = replayed.now()
    return {"first": wb.replay(run, isolate=isolate).output - began}


def verify(folder: str) -> dict[str, float]:
    """Replay a run, and verify its certificate."""
    import workbench as wb

    made = _replayed(wb, _run(folder)).run
    wb.verify(made)
    opened = _run(str(Path(made.store.address)))
    began = time.perf_counter()
    found = wb.verify(opened)
    took = time.perf_counter() - began
    if not found.ok or "certificate" not in str(found):
        raise RuntimeError(f"it does not hold: {found}")
    return {"whole": took, "events": len(opened.event_log())}


def _run(folder: str):
    import workbench as wb

    store = wb.open(folder)
    return store.run(store.runs()["run_id"][0])


def _replayed(wb, run):
    result = wb.replay(run)
    levels = result.certificate["match_levels"]
    if set(levels) != {"exact"} or result.certificate["calls"]["unconsumed"]:
        raise RuntimeError(f"it was not replayed exactly: {levels}")
    return result


def _own(output: object) -> float:
    """Return how long the agent itself took for its calls or nodes, by its own clock."""
    if isinstance(output, float):
        return output
    return importlib.import_module("replayed_graph").seen.took


def _peak() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    facts = dict(line.split(":", 1) for line in lines if line.startswith("VmHWM"))
    return int(facts["VmHWM"].split()[0]) / 1000


_SUBJECTS = {one.__name__: one for one in (record, replay, bare, first, verify)}

if __name__ == "__main__":
    print(json.dumps(_SUBJECTS[sys.argv[1]](*sys.argv[2:])))
