"""``import``: runs that other tools recorded, or that were exported, go into the store."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workbench.cli.options import AsJson, Target, Workspace, opened
from workbench.cli.output import emit, note

if TYPE_CHECKING:
    from workbench.importers import Summary

_SHOWN = 20


def import_(
    format_name: Annotated[
        str, typer.Argument(metavar="FORMAT", help="agentdojo, tau-bench, tau2 or workbench.")
    ],
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Files or folders.")],
    *,
    store: Target = None,
    workspace: Workspace = None,
    as_json: AsJson = False,
) -> None:
    """Store runs that other tools recorded. The same files twice change nothing.

    What is malformed is skipped and listed; the exit code is 2 when nothing could be read at all.

    Example:

        workbench import tau-bench gpt-4o-airline.json
    """
    from tqdm import tqdm

    from workbench.importers import import_paths, refuse_wrong_use

    refuse_wrong_use(format_name, paths)
    with (
        opened(store, workspace=workspace) as there,
        tqdm(desc="import", unit="run", delay=1, leave=False, file=sys.stderr) as bar,
    ):
        summary = import_paths(
            there, format_name, paths, progress=lambda read: bar.update(read - bar.n)
        )
    emit(summary.as_dict(), as_json=as_json, text=_text(summary))
    if not as_json:
        _list_skipped(summary)


def _text(summary: Summary) -> str:
    said: dict[str, Any] = summary.as_dict()
    errors = "errors not marked" if summary.tool_errors is None else f"{said['tool_errors']} errors"
    lines = [
        f"{summary.runs:,} runs read, {summary.stored:,} stored, {summary.changed:,} changed",
        f"{summary.messages:,} messages, {summary.tool_calls:,} tool calls, {errors}",
        f"cost unknown in {summary.unknown_cost_runs:,} of {summary.runs:,} runs",
    ]
    if summary.skipped:
        lines.append(f"{len(summary.skipped):,} skipped")
    return "\n".join(lines)


def _list_skipped(summary: Summary) -> None:
    for item in summary.skipped[:_SHOWN]:
        place = item.file if item.line is None else f"{item.file}:{item.line}"
        note(f"skipped {place}: {item.reason}")
    if len(summary.skipped) > _SHOWN:
        note(f"and {len(summary.skipped) - _SHOWN} more; --json lists all")
