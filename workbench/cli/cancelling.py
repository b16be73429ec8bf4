"""``cancel``: end a run that goes on."""

from __future__ import annotations

from typing import Annotated

import typer

from workbench.cli.options import AsJson, Target, Workspace, opened
from workbench.cli.output import emit
from workbench.cli.runs import RunName, plain


def cancel(
    run: RunName,
    *,
    reason: Annotated[str | None, typer.Option(help="Why; kept with the run.")] = None,
    store: Target = None,
    workspace: Workspace = None,
    as_json: AsJson = False,
) -> None:
    """End a run as cancelled; whoever records it is told and sends nothing more.

    A run that was cancelled already is left as it is; one that ended otherwise is a conflict.

    Example:

        workbench cancel 0198f0c2 --reason "wrong prompt"
    """
    with opened(store, workspace=workspace) as there:
        row = there.cancel(there.run(run), reason=reason)
    emit({"run": plain(row)}, as_json=as_json, text=f"{row['run_id']} {row['status']}")
