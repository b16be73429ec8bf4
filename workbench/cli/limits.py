"""``limits``: show or set what a workspace may ask for."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from workbench.cli.keys import administered
from workbench.cli.options import AsJson, Target, Workspace
from workbench.cli.output import emit
from workbench.errors import UsageError

_COLUMNS = {
    "name": "limit",
    "value": "in force",
    "default": "default",
    "from": "from",
    "to": "to",
}


def limits(
    change: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME=NUMBER]...", help="NAME= gives a limit its default again."),
    ] = None,
    *,
    store: Target = None,
    workspace: Workspace = None,
    as_json: AsJson = False,
) -> None:
    """Show the limits of a workspace, or set some; for its admins.

    Rates hold in each server process by itself. Beyond a rate the server answers 429 and says when
    to come back, which every client of this library does.

    Example:

        workbench limits events_per_s=5000 body_bytes=
    """
    wanted = dict(map(_pair, change or ()))
    with administered(store, workspace) as there:
        said = there.change_limits(wanted) if wanted else there.limits()
    from workbench.cli.tables import rows_table

    emit(said, as_json=as_json, text=rows_table(_rows(said), _COLUMNS))


def _pair(text: str) -> tuple[str, int | None]:
    name, equals, number = text.partition("=")
    digits = number.replace("_", "")
    if not equals or (digits and not digits.isdecimal()):
        raise UsageError("a limit is NAME=NUMBER, or NAME= for its default", found=text)
    return name, int(digits) if digits else None


def _rows(said: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"name": name, "value": value, "default": said["defaults"][name], **said["ranges"][name]}
        for name, value in said["limits"].items()
    ]
