"""``usage``: what a workspace took, by day."""

from __future__ import annotations

from datetime import date
from typing import Annotated

import typer

from workbench.cli.keys import administered
from workbench.cli.options import AsJson, Target, Workspace
from workbench.cli.output import emit
from workbench.errors import UsageError

_COLUMNS = {
    "day": "day",
    "runs": "runs",
    "events": "events",
    "bytes": "bytes",
    "input_tokens": "tokens in",
    "output_tokens": "tokens out",
    "cost_known_usd": "known cost",
    "unknown_cost_runs": "runs of unknown cost",
    "artifact_bytes": "artifact bytes",
}


def usage(
    *,
    first: Annotated[
        str | None, typer.Option("--from", help="The first day, such as 2026-03-01.")
    ] = None,
    last: Annotated[str | None, typer.Option("--to", help="The last day (default: today).")] = None,
    store: Target = None,
    workspace: Workspace = None,
    as_json: AsJson = False,
) -> None:
    """Show what a workspace took on each day of UTC, for the last thirty days.

    Example:

        workbench usage --from 2026-03-01 --to 2026-03-31
    """
    with administered(store, workspace) as there:
        said = there.usage(first=_day(first), last=_day(last))
    from workbench.cli.tables import rows_table

    rows = [*said["days"], said["total"] | {"day": "total"}]
    shown = [row | {"cost_known_usd": f"{row['cost_known_usd']:.4f} USD"} for row in rows]
    emit(said, as_json=as_json, text=rows_table(shown, _COLUMNS))


def _day(text: str | None) -> date | None:
    try:
        return None if text is None else date.fromisoformat(text)
    except ValueError as error:
        raise UsageError("this is no day", expected="such as 2026-03-01", found=text) from error
