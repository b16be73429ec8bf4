"""``follow``: print a run's events as they come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from workbench.cli.options import AsJson, Target, Workspace, opened
from workbench.cli.output import emit
from workbench.cli.runs import RunName, plain, records
from workbench.schema import ENDED_STATUSES

if TYPE_CHECKING:
    import polars as pl


def follow(
    run: RunName,
    *,
    after: Annotated[int, typer.Option(min=0, metavar="SEQ", help="Begin behind this event.")] = 0,
    timeout: Annotated[
        float | None, typer.Option(min=0, help="Seconds after which to stop although it goes on.")
    ] = None,
    lines: Annotated[
        bool, typer.Option("--lines", help="Print each event as a line of JSON.")
    ] = False,
    store: Target = None,
    workspace: Workspace = None,
    as_json: AsJson = False,
) -> None:
    """Print a run's events as they come, until the run ends; Ctrl-C stops it.

    With --json nothing but the run as it is at the end is printed. Exits with 1 when the run has
    not ended.

    Example:

        workbench follow 0198f0c2 --after 120
    """
    with opened(store, workspace=workspace) as there:
        found = there.run(run)
        for frame in found.follow(after=after, timeout=timeout):
            if not (as_json or _printed(frame, as_lines=lines)):
                raise typer.Exit
        found.refresh()
    over = found.info["status"] in ENDED_STATUSES
    emit({"run": plain(found.info), "ended": over}, as_json=as_json)
    if not over:
        raise typer.Exit(1)


def _printed(frame: pl.DataFrame, *, as_lines: bool) -> bool:
    """Print a frame's events; nobody may be there any more to read them (head, less)."""
    if as_lines:
        return all(emit(row, as_json=True) for row in records(frame))
    return emit(None, as_json=False, text="\n".join(map(_line, frame.iter_rows(named=True))))


def _line(row: dict[str, Any]) -> str:
    at = row["started_at"] or row["received_at"]
    took = "" if row["duration_ms"] is None else f"{row['duration_ms']:.0f} ms"
    said = (row["kind"], row["name"], row["status"], took)
    words = "  ".join(_harmless(str(word)) for word in said if word)
    return f"{row['seq']:>6}  {at:%H:%M:%S.%f}  {row['event_type']:<16}  {words}".rstrip()


def _harmless(text: str) -> str:
    """Return the text without what would move a terminal's cursor."""
    return "".join(sign if sign.isprintable() else "\ufffd" for sign in text)
