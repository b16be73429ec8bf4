"""``sessions``: list sessions and what their runs come to."""

from __future__ import annotations

from typing import Annotated

import typer

from workbench.cli.options import AsJson, Target, Workspace, opened
from workbench.cli.output import emit, note
from workbench.cli.runs import records


def sessions(
    session: Annotated[
        str | None, typer.Argument(metavar="[SESSION]", help="Only the session of this name.")
    ] = None,
    *,
    sort: Annotated[
        str | None,
        typer.Option(
            metavar="KEY[:asc|desc]",
            help="last_at (usual), first_at, session, runs, errors, duration_ms, cost, tokens.",
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many.")] = None,
    store: Target = None,
    workspace: Workspace = None,
    as_json: AsJson = False,
) -> None:
    """List sessions, the last active first: runs, calls, tokens, cost and how long runs took.

    Example:

        workbench sessions --sort cost --limit 10
    """
    with opened(store, workspace=workspace) as there:
        found = there.sessions(session=session, sort=sort, limit=limit)
    if as_json:
        emit({"sessions": records(found)}, as_json=True)
    elif found.height:
        from workbench.cli.tables import sessions_table

        emit(None, as_json=False, text=sessions_table(found))
    else:
        note("no sessions")
