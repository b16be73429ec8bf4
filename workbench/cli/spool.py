"""``spool``: what recordings left on this machine's disk; send it, or keep it elsewhere."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workbench.cli.options import AsJson, Target, Workspace, opened
from workbench.cli.output import emit, note
from workbench.errors import SpoolFailed, UsageError, WorkbenchError
from workbench.settings import Settings
from workbench.spool import SpoolFolder

if TYPE_CHECKING:
    from workbench.spool.survey import Waiting

app = typer.Typer(
    help=(
        "Show, send or copy what recordings left on this machine's disk.\n\n"
        "Example:\n\n\b\n    workbench spool show --json\n    workbench spool flush"
    ),
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

_COLUMNS = {
    "run_id": "run",
    "name": "name",
    "writer": "writer",
    "events": "events",
    "bytes": "bytes",
    "alive": "being recorded",
    "address": "for",
}


@app.command("show")
def show(*, as_json: AsJson = False) -> None:
    """Show what waits, writer by writer.

    Example:

        workbench spool show
    """
    from workbench.cli.tables import rows_table
    from workbench.spool.survey import survey

    folder = _folder()
    found = survey(folder)
    _warn(found.unread)
    rows = [_row(one) for one in found.writers]
    said = {
        "folder": str(folder.path),
        "bytes": folder.size(),
        "most_bytes": folder.most,
        "writers": rows,
        "unread": [error.as_problem() for error in found.unread],
    }
    text = rows_table(rows, _COLUMNS) if rows else f"nothing waits in {folder.path}"
    emit(said, as_json=as_json, text=text)


@app.command("flush")
def flush(*, store: Target = None, workspace: Workspace = None, as_json: AsJson = False) -> None:
    """Send what recordings left behind that were killed, or found no server.

    The exit code is 1 where something stays that should have gone.

    Example:

        workbench spool flush
    """
    from workbench.store.leftovers import flush as deliver
    from workbench.store.remote import RemoteStore

    with opened(store, workspace=workspace) as there:
        if not isinstance(there, RemoteStore):
            raise UsageError("a folder takes no recordings", found=there.address)
        told = deliver(there.outlet(), _folder())
    _warn(told.unread)
    said = {
        "runs": told.runs,
        "events": told.events,
        "stubs": told.stubs,
        "lost": told.lost,
        "left": told.left,
        "elsewhere": told.elsewhere,
        "unread": [error.as_problem() for error in told.unread],
    }
    emit(said, as_json=as_json, text=_told(said))
    if told.left or told.unread:
        raise typer.Exit(1)


@app.command("export")
def export(
    *,
    to: Annotated[Path, typer.Option("--to", help="A folder; it is made where there is none.")],
    as_json: AsJson = False,
) -> None:
    """Copy the segments, which are lines of JSON; nothing is taken away.

    Example:

        workbench spool export --to kept
    """
    paths = _folder().paths()
    try:
        to.mkdir(parents=True, exist_ok=True)
        copied = [made for path in paths if (made := _copied(path, to)) is not None]
    except OSError as error:
        raise SpoolFailed(
            "the segments cannot be copied", where=str(to), found=error.strerror, full=False
        ) from error
    said = {"files": [str(path) for path in copied]}
    emit(said, as_json=as_json, text=f"{len(copied)} files in {to}")


def _copied(path: Path, to: Path) -> Path | None:
    try:
        return Path(shutil.copy2(path, to / path.name))
    except FileNotFoundError:
        return None  # it was acknowledged meanwhile


def _folder() -> SpoolFolder:
    settings = Settings.from_environment()
    return SpoolFolder(settings.spool, settings.spool_bytes)


def _warn(unread: list[WorkbenchError]) -> None:
    for error in unread:
        note(f"workbench: {error.code}: {error}")


def _row(one: Waiting) -> dict[str, Any]:
    return {
        "run_id": one.run_id,
        "name": one.name,
        "writer": one.writer,
        "events": one.events,
        "bytes": one.bytes,
        "alive": one.alive,
        "address": one.address,
    }


def _told(said: dict[str, Any]) -> str:
    lines = [f"delivered {said['events']} events of {said['runs']} runs"]
    if said["stubs"]:
        lines.append(f"{said['stubs']} of them as stubs: the server would not take them")
    if said["lost"]:
        lines.append(f"{said['lost']} events came after their run had been ended, and are gone")
    lines += [f"{count} events stay here: {why}" for why, count in said["left"].items()]
    if said["elsewhere"]:
        lines.append(f"{said['elsewhere']} writers belong to other workspaces")
    return "\n".join(lines)
