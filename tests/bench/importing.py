"""Importing 900 runs of AgentDojo over HTTP, files read and all, in messages a second.

The baseline makes each run with one request and fills it with a second, by four threads: the plain
way, which the product itself went before.
"""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from figure import Figure, median, say

from workbench import formats, local
from workbench.importers import files, import_paths

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx
    from stack import Stack

_ROUNDS = 3
_THREADS = 4


def figures(stack: Stack) -> Iterator[Figure]:
    folder = folder_of_runs()
    if folder is None:
        say("no recorded data of others; set WORKBENCH_REALDATA")
        return
    ours, plain = [], []
    for turn in range(_ROUNDS):
        say(f"importing, round {turn + 1} of {_ROUNDS}")
        ours.append(_import(folder, workspace=f"import-{turn}"))
        plain.append(_plainly(stack, folder))
    yield Figure(
        figure="importing 900 AgentDojo runs over HTTP",
        value=median(ours),
        unit="messages/s",
        baseline="two requests a run, four threads",
        baseline_value=median(plain),
        wanted=">= 10000",
    )


def folder_of_runs() -> Path | None:
    beside = Path(__file__).parents[2] / "../shared/realdata"
    found = Path(os.environ.get("WORKBENCH_REALDATA") or beside) / "agentdojo" / "runs"
    return found if found.is_dir() else None


def _import(folder: Path, *, workspace: str) -> float:
    with local.open(workspace=workspace) as store:
        begun = time.perf_counter()
        summary = import_paths(store, "agentdojo", [folder])
        took = time.perf_counter() - begun
        if summary.skipped or summary.stored != summary.runs:
            raise RuntimeError(f"not all of it was stored: {summary}")
    return summary.messages / took


def _plainly(stack: Stack, folder: Path) -> float:
    begun, messages = time.perf_counter(), 0
    with stack.client() as client, ThreadPoolExecutor(_THREADS) as threads:
        sent = []
        for found in files.find([folder]):
            run = _read(found)
            messages += run.counts.messages
            sent.append(threads.submit(_send, client, run))
        for one in sent:
            one.result()
    return messages / (time.perf_counter() - begun)


def _read(found: files.Found) -> formats.Imported:
    data = found.path.read_bytes()
    context, [piece] = formats.records("agentdojo", data, where=found.shown)
    return formats.imported(
        formats.trace("agentdojo", piece, context=context, path=found.path, where=found.shown)
    )


def _send(client: httpx.Client, run: formats.Imported) -> None:
    made = client.post("/runs", content=msgspec.json.encode(run.header)).json()
    batch = msgspec.json.encode({"events": run.events, "bodies": run.bodies})
    client.post(f"/runs/{made['run_id']}/events", content=batch).raise_for_status()
