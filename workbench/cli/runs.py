"""``runs``, ``show`` and ``label``: look at runs from a terminal."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workbench.cli.options import AsJson, Target, Workspace, opened
from workbench.cli.output import emit, note

if TYPE_CHECKING:
    import polars as pl

RunName = Annotated[
    str, typer.Argument(metavar="RUN", help="A run's id, its first letters, or its source.")
]
_STEPS_SHOWN = 200


def runs(
    *,
    status: Annotated[
        str | None, typer.Option(help="Only runs of this status, such as failed.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Only runs of this name.")] = None,
    source: Annotated[str | None, typer.Option(help="Only the run of this source.")] = None,
    label: Annotated[str | None, typer.Option(help="Only runs with this label, KEY:VALUE.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many, newest first.")] = None,
    store: Target = None,
    workspace: Workspace = None,
    as_json: AsJson = False,
) -> None:
    """List runs, newest first.

    Example:

        workbench runs --status failed --limit 20
    """
    with opened(store, workspace=workspace) as there:
        found = there.runs(status=status, name=name, source=source, label=label, limit=limit)
    if as_json:
        emit({"runs": [plain(row) for row in found.iter_rows(named=True)]}, as_json=True)
    elif found.height:
        from workbench.cli.tables import runs_table

        emit(None, as_json=False, text=runs_table(found))
    else:
        note("no runs")


def show(
    run: RunName,
    *,
    steps: Annotated[
        int, typer.Option(min=0, help="How many steps to print as text.")
    ] = _STEPS_SHOWN,
    store: Target = None,
    workspace: Workspace = None,
    as_json: AsJson = False,
) -> None:
    """Show one run: what it is, its steps, and what failed.

    Example:

        workbench show 0198f0c2
    """
    with opened(store, workspace=workspace) as there:
        found = there.run(run)
        if as_json:
            document = {
                "run": plain(found.info),
                "input": found.input,
                "output": found.output,
                "exception": found.exception,
                "steps": records(found.steps),
                "failed": records(found.steps.filter(status="error")),
            }
            emit(document, as_json=True)
        else:
            from workbench.cli.tables import run_text

            emit(None, as_json=False, text=run_text(found, shown=steps))


def label(
    run: RunName,
    labels: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="KEY= removes the label.")
    ] = None,
    *,
    name: Annotated[str | None, typer.Option(help="The run's new name.")] = None,
    store: Target = None,
    workspace: Workspace = None,
    as_json: AsJson = False,
) -> None:
    """Label or rename a run; true, false and numbers are kept as such.

    Example:

        workbench label 0198f0c2 incident=true owner=ann --name "refund incident"
    """
    from msgspec import UNSET

    from workbench.errors import UsageError
    from workbench.schema import RunPatch

    if not labels and name is None:
        raise UsageError("nothing to change", hint="give KEY=VALUE or --name")
    change = RunPatch(
        name=UNSET if name is None else name,
        labels=dict(map(_label, labels)) if labels else UNSET,
    )
    with opened(store, workspace=workspace) as there:
        row = there.patch(there.run(run).run_id, change)
    emit(
        {"run": plain(row)}, as_json=as_json, text=f"{row['run_id']} {row['name']} {row['labels']}"
    )


def plain(row: dict[str, Any]) -> dict[str, Any]:
    """Return a run's row for JSON: times in ISO form, labels as an object."""
    import orjson

    said = {key: _moment(value) for key, value in row.items()}
    return said | {"labels": orjson.loads(said.get("labels") or "{}")}


def records(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """Return a frame's rows for JSON."""
    return [
        {key: _moment(value) for key, value in row.items()} for row in frame.iter_rows(named=True)
    ]


def _moment(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _label(text: str) -> tuple[str, str | int | float | bool | None]:
    from workbench.errors import UsageError

    key, equals, value = text.partition("=")
    if not equals or not key:
        raise UsageError("a label is KEY=VALUE", found=text)
    return key, _scalar(value)


def _scalar(text: str) -> str | int | float | bool | None:
    import msgspec

    if not text:
        return None
    try:
        return msgspec.json.decode(text, type=bool | int | float)
    except msgspec.MsgspecError:
        return text
