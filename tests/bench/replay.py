"""How fast a run is replayed exactly, how soon, in how much memory, and verified.

Runs and replays lie in folders on the disk, and each is timed in a process of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from figure import Figure, median, say

from workbench.replay import isolation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stack import Stack

_ROUNDS = 5
_WARM, _FEW, _CALLS, _MANY = 200, 1_000, 10_000, 100_000
_REPLAYING = Path(__file__).with_name("replaying.py")
_PLAIN, _GRAPH = "replayed:calls", "replayed_graph:agent"


def figures(stack: Stack | None = None) -> Iterator[Figure]:
    with tempfile.TemporaryDirectory(prefix="wb-bench-replay-") as folder:
        bench = _Bench(Path(folder))
        yield from _plain(bench)
        yield from _graph(bench)
        yield from _first(bench)
        yield from _memory(bench)
        yield from _verify(bench)


class _Bench:
    """Runs subjects in processes of their own, and keeps what they recorded."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        beside = os.environ.get("PYTHONPATH")
        path = os.pathsep.join([str(_REPLAYING.parent), *([beside] if beside else [])])
        # the new runs go to temporary folders
        self._environment = {**os.environ, "PYTHONPATH": path, "TMPDIR": str(folder)}

    def run(self, subject: str, *args: object) -> dict[str, float]:
        return self._run(str(_REPLAYING), subject, *map(str, args))

    def imports(self, module: str) -> float:
        """Return the seconds that importing an agent takes in a process that has nothing else."""
        timed = f"import time; began = time.perf_counter(); import {module}; "
        return self._run("-c", f"{timed}print(time.perf_counter() - began)")

    def _run(self, *args: str) -> Any:
        command = [sys.executable, *args]
        done = subprocess.run(command, env=self._environment, capture_output=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr.decode(errors="replace"))
        return json.loads(done.stdout)

    def recorded(self, agent: str, count: int) -> Path:
        """Return the folder of a recorded run, which is recorded once."""
        folder = self._folder / f"{agent.replace(':', '-')}-{count}"
        if not folder.exists():
            self.run("record", folder, agent, count)
        return folder

    def rounds(self, what: str, count: int = _ROUNDS) -> Iterator[int]:
        for number in range(count):
            say(f"{what}, round {number + 1} of {count}")
            yield number


def _plain(bench: _Bench) -> Iterator[Figure]:
    whole, own, cpu, made = [], [], [], []
    run, warm = bench.recorded(_PLAIN, _CALLS), bench.recorded(_PLAIN, _WARM)
    for number in bench.rounds("replaying plain calls"):
        found = bench.run("replay", run, warm)
        whole.append(_CALLS / found["whole"])
        own.append(_CALLS / found["own"])
        cpu.append(1e6 * found["cpu"] / _CALLS)
        folder = bench.recorded(_PLAIN, _CALLS).with_name(f"again-{number}")
        made.append(_CALLS / bench.run("record", folder, _PLAIN, _CALLS)["whole"])
    figure = f"exact replay of a run of {_CALLS:,} plain calls"
    recorded = "the same, recorded: written to its end"
    yield Figure(figure=f"{figure}: reading, replaying, writing, certificate",
                 value=median(whole), unit="calls/s", baseline=recorded,
                 baseline_value=median(made), wanted=">= 20000")  # fmt: skip
    yield Figure(figure=f"{figure}: as the agent sees it", value=median(own), unit="calls/s",
                 baseline=recorded, baseline_value=median(made), wanted=">= 20000")  # fmt: skip
    yield Figure(figure=f"{figure}: processor time of a call, all threads", value=median(cpu),
                 unit="µs")  # fmt: skip


def _graph(bench: _Bench) -> Iterator[Figure]:
    whole, own, bare, bare_own = [], [], [], []
    run, warm = bench.recorded(_GRAPH, _CALLS), bench.recorded(_GRAPH, _WARM)
    for _ in bench.rounds("replaying a graph"):
        found = bench.run("bare", "replayed_graph:bare", _CALLS)
        bare.append(_CALLS / found["whole"])
        bare_own.append(_CALLS / found["own"])
        found = bench.run("replay", run, warm)
        whole.append(_CALLS / found["whole"])
        own.append(_CALLS / found["own"])
    figure = f"exact replay of a LangGraph run of {_CALLS:,} nodes with a call each"
    yield Figure(figure=f"{figure}: reading, replaying, writing, certificate",
                 value=median(whole), unit="nodes/s", baseline="the same graph, bare",
                 baseline_value=median(bare), wanted=">= 0.7 x")  # fmt: skip
    yield Figure(figure=f"{figure}: as the agent sees it", value=median(own), unit="nodes/s",
                 baseline="the same graph, bare", baseline_value=median(bare_own),
                 wanted=">= 0.7 x")  # fmt: skip


def _first(bench: _Bench) -> Iterator[Figure]:
    for module in ("replayed", "replayed_graph"):
        yield from _first_guarded(bench, module)
        if isolation.possible():
            yield from _first_isolated(bench, module)
        else:
            say("nothing can be isolated here")


def _first_guarded(bench: _Bench, module: str) -> Iterator[Figure]:
    run, found = bench.recorded(f"{module}:first", _FEW), {0: [], 1: []}
    for _ in bench.rounds(f"the first call of {module}, guarded"):
        for before, times in found.items():
            times.append(1000 * bench.run("first", run, "guarded", before)["first"])
    yield Figure(figure=f"from wb.replay to the first call of {_FEW:,}, {module}.py, guarded",
                 value=median(found[1]), unit="ms",
                 baseline="the same as the first replay of its process",
                 baseline_value=median(found[0]), wanted="<= 100 ms")  # fmt: skip


def _first_isolated(bench: _Bench, module: str) -> Iterator[Figure]:
    run = bench.recorded(f"{module}:first", _FEW)
    beyond, imports = [], []
    for _ in bench.rounds(f"the first call of {module}, isolated"):
        own = 1000 * bench.imports(module)
        imports.append(own)
        beyond.append(1000 * bench.run("first", run, "isolated", 1)["first"] - own)
    yield Figure(figure=f"from wb.replay to the first call of {_FEW:,}, {module}.py, isolated:"
                 " beyond the agent's own imports", value=median(beyond), unit="ms",
                 baseline="the agent's own imports in a bare child",
                 baseline_value=median(imports), wanted="<= 600 ms")  # fmt: skip


def _memory(bench: _Bench) -> Iterator[Figure]:
    peaks = {}
    for count in (_CALLS, _MANY):
        say(f"the memory of replaying {count:,} calls")
        peaks[count] = bench.run("replay", bench.recorded(_PLAIN, count))["peak"]
    yield Figure(figure=f"most memory while a run of {_MANY:,} calls is replayed",
                 value=peaks[_MANY], unit="MB", baseline=f"one of {_CALLS:,} calls",
                 baseline_value=peaks[_CALLS], wanted="1 x: flat")  # fmt: skip


def _verify(bench: _Bench) -> Iterator[Figure]:
    whole, replays = [], []
    run = bench.recorded(_PLAIN, _CALLS // 2)
    for _ in bench.rounds("verifying a certificate"):
        whole.append(bench.run("verify", run)["whole"])
        replays.append(bench.run("replay", run, run)["whole"])
    yield Figure(figure=f"verifying the certificate of a run of {_CALLS:,} events",
                 value=median(whole), unit="s", baseline="replaying the run it was made by",
                 baseline_value=median(replays), wanted="<= 0.5 s")  # fmt: skip


if __name__ == "__main__":
    for figure in figures():
        print(figure.line())
