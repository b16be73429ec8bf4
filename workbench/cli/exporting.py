"""``export``: runs as a folder of Parquet files, or one run as a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workbench.cli.options import AsJson, Target, Workspace, opened
from workbench.cli.output import emit
from workbench.errors import UsageError

if TYPE_CHECKING:
    from workbench.store import Run, Store


def export(
    wanted: Annotated[
        list[str] | None, typer.Argument(metavar="[RUN]...", help="Ids or sources of runs.")
    ] = None,
    *,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="DIR", help="The folder to make.")
    ] = None,
    bundle: Annotated[
        Path | None,
        typer.Option("--bundle", metavar="FILE", help="One file that replays elsewhere."),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every run of the store.")] = False,
    overwrite: Annotated[bool, typer.Option(help="Replace an earlier export.")] = False,
    store: Target = None,
    workspace: Workspace = None,
    as_json: AsJson = False,
) -> None:
    """Write runs to a folder of Parquet files that opens without any service.

    A bundle is one run with its artifacts, its certificate and its agent's name in one file.

    Example:

        workbench export 0198f0c2 --to incident-runs
        workbench export 0198f0c2 --bundle incident.zip
    """
    from workbench.store.export import export as write

    if bundle is not None and to is None:
        with opened(store, workspace=workspace) as there:
            _bundle(there, wanted or [], bundle, overwrite=overwrite, as_json=as_json)
        return
    if bundle is not None or to is None:
        raise UsageError("name a folder by --to, or a file by --bundle")
    with opened(store, workspace=workspace) as there:
        chosen = _chosen(there, wanted or [], everything=everything)
        count = _Count(len(chosen))
        folder = write(chosen, to, overwrite=overwrite, each=count.add)
    said = count.facts() | {"folder": str(folder)}
    emit(said, as_json=as_json, text=f"{count.runs} runs in {folder}")


def _bundle(store: Store, wanted: list[str], file: Path, *, overwrite: bool, as_json: bool) -> None:
    from workbench.replay import bundle

    if len(wanted) != 1:
        raise UsageError("a bundle is of one run", found=f"{len(wanted)} named")
    run = store.run(wanted[0])
    made = bundle(run, file, overwrite=overwrite)
    said = {"run_id": run.run_id, "bundle": str(made)}
    emit(said, as_json=as_json, text=f"run {run.run_id} in {made}")


def _chosen(store: Store, wanted: list[str], *, everything: bool) -> list[Run]:
    from workbench.store import Run

    if bool(wanted) == everything:
        raise UsageError("name the runs to export, or give --all for every run")
    if everything:
        return [Run(store, row) for row in store.runs().iter_rows(named=True)]
    return [store.run(name) for name in wanted]


class _Count:
    """What was written, in the words of ``import --json``, and the progress of it."""

    def __init__(self, total: int) -> None:
        from tqdm import tqdm

        self.runs = self.messages = self.tool_calls = self.tool_errors = self.unknown = 0
        self._bar = tqdm(total=total, desc="export", unit="run", delay=1, leave=False)

    def add(self, run: Run) -> None:
        self._bar.update()
        self.runs += 1
        self.messages += run.messages.height
        self.tool_calls += run.info["tool_calls"] or 0
        self.tool_errors += run.info["tool_errors"] or 0
        self.unknown += bool(run.info["unknown_cost_parts"])

    def facts(self) -> dict[str, Any]:
        self._bar.close()
        return {
            "runs": self.runs,
            "stored": self.runs,
            "messages": self.messages,
            "tool_calls": self.tool_calls,
            "tool_errors": self.tool_errors,
            "unknown_cost_runs": self.unknown,
            "changed": 0,
            "skipped": [],
        }
