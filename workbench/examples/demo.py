"""The whole path once: record, import, replay, fork, diff, report.

``python -m workbench.examples.demo`` starts the local stack, leaves it running and prints where
everything is. What an earlier demo stored is used again, so a second one adds no run.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from rich.console import Console

import workbench as wb
from workbench.examples.support_desk import EFFECTS, agent, draw_case

if TYPE_CHECKING:
    from collections.abc import Iterator

INTENTS = ("double_charge", "parcel", "offline", "damaged")
SEED = 20
REPORT = Path("notebooks/reports/incident.ipynb")
DATASETS = Path("datasets")

console = Console(stderr=True, highlight=False)


def main() -> None:
    """Run the demo from the project's folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder of the report")
    out = parser.parse_args().out
    began = time.perf_counter()
    with step("Start the local stack"):
        command("up")
        store = wb.open()
    with step(f"Record the example agent, {len(INTENTS)} requests"):
        runs = [recorded(store, intent) for intent in INTENTS]
    with step("Import the bundled data set"):
        command("import", "workbench", str(DATASETS))
    source = next(run for run in runs if run.name == f"demo: {INTENTS[1]}")
    with step("Replay one run exactly, every call answered from its recording"):
        replay = replayed(store, source)
        console.print(f"  {replay}")
    with step("Fork it: one tool gives another answer, the rest runs live"):
        fork = forked(store, source)
        console.print(f"  run {fork.run_id}, {fork.status}")
    with step("Compare the fork with its source"):
        console.print(f"  {wb.diff(source, fork).summary().splitlines()[0]}", markup=False)
    with step("Write the incident report"):
        command("report", str(REPORT), "-p", f"run={incident(store)}", "--to", str(out))
    say_where(store, out, seconds=time.perf_counter() - began)


@contextmanager
def step(title: str) -> Iterator[None]:
    """Show what is being done and how long it took."""
    began = time.perf_counter()
    console.print(f"[bold]{title}[/bold] …")
    yield
    console.print(f"  [dim]{time.perf_counter() - began:.1f} s[/dim]")


def command(*words: str) -> None:
    """Run a ``workbench`` command, as a person would; its failure ends the demo."""
    done = subprocess.run([sys.executable, "-m", "workbench", *words], check=False)  # noqa: S603 - our own command
    if done.returncode:
        sys.exit(done.returncode)


def recorded(store: Any, intent: str) -> Any:
    """Return the demo's run of one kind of request, recorded now if there is none."""
    name = f"demo: {intent}"
    known = store.runs().filter(pl.col("name") == name, pl.col("mode").is_null())
    if known.height:
        return store.run(known["run_id"][0])
    case = draw_case(random.Random(SEED), intent=intent)
    return wb.record(store, agent, case.input, name=name, labels={"intent": intent})


def replayed(store: Any, source: Any) -> str:
    """Replay the run exactly, once; say what came of it."""
    earlier = children(store, source).filter(pl.col("forked_at").is_null())
    if earlier.height:
        status = earlier["status"][0]
        return f"run {earlier['run_id'][0]}, {status}, from an earlier demo"
    result = wb.replay(source, agent)
    if not result.identical:
        sys.exit(f"the replay differs: {result}")
    return f"run {result.run.run_id}, {result}"


def forked(store: Any, source: Any) -> Any:
    """Fork the run where it asks the carrier, once, as if the parcel had arrived."""
    earlier = children(store, source).filter(pl.col("forked_at").is_not_null())
    if earlier.height:
        return store.run(earlier["run_id"][0])
    answer = source.messages.filter(pl.col("tool") == "track_parcel")["text"][0]
    edits = {"outcome": answer.replace("in transit", "delivered")}
    at = source.calls.filter(pl.col("name") == "track_parcel")["seq"][0]
    fork = wb.fork(source, at=at, edits=edits, agent=agent, rest="live", effects=EFFECTS)
    return fork.run().run


def children(store: Any, source: Any) -> pl.DataFrame:
    """Return the replays and forks of a run."""
    frame: pl.DataFrame = store.runs()
    return frame.filter(pl.col("parent_run_id") == source.run_id)


def incident(store: Any) -> str:
    """Return the recorded run with the most errors, the first to look at."""
    runs: pl.DataFrame = store.runs()
    own = runs.filter(pl.col("mode").is_null(), pl.col("source").is_null())
    return str(own.sort("errors", "run_id", descending=[True, False])["run_id"][0])


def say_where(store: Any, out: Path, *, seconds: float) -> None:
    """Print where everything is."""
    lines = [
        f"Done in {seconds:.0f} s; {store.runs().height} runs in the store.",
        f"  report      {(out / 'incident.html').resolve()}",
        "  JupyterLab  make lab",
        "  stop        make stop",
    ]
    console.print("\n".join(lines), soft_wrap=True)


if __name__ == "__main__":
    main()
