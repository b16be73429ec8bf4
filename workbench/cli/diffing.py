"""``diff``: compare two runs."""

from __future__ import annotations

from typing import Annotated

import typer

from workbench.cli.options import AsJson, Target, Workspace, opened
from workbench.cli.output import emit


def diff(
    a: Annotated[str, typer.Argument(metavar="A", help="A run's id or source.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Another run's id or source.")],
    *,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Exit with 1 when the runs differ.")
    ] = False,
    store: Target = None,
    workspace: Workspace = None,
    as_json: AsJson = False,
) -> None:
    """Say where two runs first differ, and what differs in each part of them.

    Example:

        workbench diff tau-bench:gpt-4o-airline.json#task=0,trial=0 0198f0c2
    """
    from workbench.diff import diff as compare

    with opened(store, workspace=workspace) as there:
        found = compare(there.run(a), there.run(b))
    emit(found.as_dict(), as_json=as_json, text=found.summary())
    if exit_code and found.differs:
        raise typer.Exit(1)
