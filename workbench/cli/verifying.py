"""``verify``: whether a recording or a certificate still is what it was."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from workbench.cli.options import AsJson, Target, Workspace, import_from_here, opened
from workbench.cli.output import emit
from workbench.errors import UsageError

if TYPE_CHECKING:
    from workbench.replay import Verified


def verify(
    what: Annotated[
        str,
        typer.Argument(metavar="FILE|RUN", help="A bundle, a certificate, or a run's id."),
    ],
    *,
    rerun: Annotated[
        bool, typer.Option("--rerun", help="Also run the agent again, isolated, and compare.")
    ] = False,
    agent: Annotated[
        str | None,
        typer.Option("--agent", help="MODULE:ATTRIBUTE (default: the one the run names)."),
    ] = None,
    isolate: Annotated[
        bool,
        typer.Option(help="The rerun is in a child process without any network, or guarded."),
    ] = True,
    store: Target = None,
    workspace: Workspace = None,
    as_json: AsJson = False,
) -> None:
    """Check that nothing of a recording, or of a replay's certificate, was changed.

    Exits with 1 when something was.

    Example:

        workbench verify run.zip --rerun --agent workbench.examples.support_desk:agent
    """
    if (agent is not None or not isolate) and not rerun:
        raise UsageError("an agent is run by --rerun only", hint="add --rerun")
    import_from_here()
    found = _found(what, store, workspace, rerun=rerun, agent=agent, isolate=isolate)
    emit(found.as_dict(), as_json=as_json, text=str(found))
    if not found.ok:
        raise typer.Exit(1)


def _found(
    what: str,
    store: str | None,
    workspace: str | None,
    *,
    rerun: bool,
    agent: str | None,
    isolate: bool,
) -> Verified:
    from workbench.replay import verify as verified

    file = Path(what)
    if file.is_file() and store is None and workspace is None:
        return verified(file, rerun=rerun, agent=agent, isolate=isolate)
    with opened(store, workspace=workspace) as there:
        if file.is_file():
            return verified(file, rerun=rerun, agent=agent, isolate=isolate, store=there)
        return verified(there.run(what), rerun=rerun, agent=agent, isolate=isolate)
