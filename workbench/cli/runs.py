"""``runs``, ``show`` and ``label``: look at runs from a terminal."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workbench.cli.options import AsJson, Target, Workspace, opened
from workbench.cli.output import emit, note

if TYPE_CHECKING:
    import polars as pl

    from workbench.store.filters import RunFilter

RunName = Annotated[
    str, typer.Argument(metavar="RUN", help="A run's id, its first letters, or its source.")
]
_STEPS_SHOWN = 200


def runs(
    *,
    status: Annotated[
        list[str] | None,
        typer.Option(metavar="STATUS", help="Only runs of this status, such as failed."),
    ] = None,
    health: Annotated[
        list[str] | None,
        typer.Option(metavar="HEALTH", help="Only runs of this health, such as gap."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Only runs of this name.")] = None,
    agent: Annotated[str | None, typer.Option(help="Only runs of this agent.")] = None,
    session: Annotated[str | None, typer.Option(help="Only runs of this session.")] = None,
    source: Annotated[str | None, typer.Option(help="Only the run of this source.")] = None,
    parent: Annotated[
        str | None, typer.Option(metavar="RUN", help="Only runs forked from this one.")
    ] = None,
    mode: Annotated[str | None, typer.Option(help="Only replays of this mode.")] = None,
    label: Annotated[
        list[str] | None, typer.Option(metavar="KEY:VALUE", help="Only runs with this label.")
    ] = None,
    search: Annotated[
        str | None,
        typer.Option(help='Words, "words in a row", or, -word: of names, labels and messages.'),
    ] = None,
    created_after: Annotated[
        str | None, typer.Option(metavar="TIME", help="Made then or later, such as 2026-03-01.")
    ] = None,
    created_before: Annotated[
        str | None, typer.Option(metavar="TIME", help="Made before then.")
    ] = None,
    ended_after: Annotated[
        str | None, typer.Option(metavar="TIME", help="Ended then or later.")
    ] = None,
    ended_before: Annotated[
        str | None, typer.Option(metavar="TIME", help="Ended before then.")
    ] = None,
    min_cost: Annotated[
        float | None, typer.Option(min=0, metavar="USD", help="Known to have cost so much.")
    ] = None,
    max_cost: Annotated[
        float | None, typer.Option(min=0, metavar="USD", help="Known to have cost no more.")
    ] = None,
    min_tokens: Annotated[int | None, typer.Option(min=0, help="So many tokens or more.")] = None,
    max_tokens: Annotated[int | None, typer.Option(min=0, help="So many tokens or less.")] = None,
    min_ms: Annotated[
        float | None, typer.Option(min=0, metavar="MS", help="Took so long or longer.")
    ] = None,
    max_ms: Annotated[
        float | None, typer.Option(min=0, metavar="MS", help="Took no longer.")
    ] = None,
    sort: Annotated[
        str | None,
        typer.Option(
            metavar="KEY[:asc|desc]",
            help="created_at (usual), started_at, ended_at, duration_ms, cost, tokens, events, "
            "errors, name.",
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many.")] = None,
    store: Target = None,
    workspace: Workspace = None,
    as_json: AsJson = False,
) -> None:
    """List runs, newest first or as --sort says.

    Options that may be given several times: any of the statuses, all of the labels.

    Example:

        workbench runs --status failed --search "refund -test" --sort cost --limit 20
    """
    wanted: RunFilter = {
        "status": status,
        "health": health,
        "name": name,
        "agent": agent,
        "session": session,
        "source": source,
        "mode": mode,
        "label": label,
        "search": search,
        "created_after": created_after,
        "created_before": created_before,
        "ended_after": ended_after,
        "ended_before": ended_before,
        "min_cost_usd": min_cost,
        "max_cost_usd": max_cost,
        "min_tokens": min_tokens,
        "max_tokens": max_tokens,
        "min_duration_ms": min_ms,
        "max_duration_ms": max_ms,
        "sort": sort,
    }
    with opened(store, workspace=workspace) as there:
        if parent is not None:
            wanted["parent_run_id"] = there.run(parent).run_id
        found = there.runs(limit=limit, **wanted)
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
                "coverage": found.coverage.as_dict(),
                "steps": records(found.steps),
                "failed": records(found.steps.filter(status="error")),
                "forks": found.forks["run_id"].to_list(),
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
