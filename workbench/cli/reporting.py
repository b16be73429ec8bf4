"""``report``: execute a report notebook and write it as one page."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.options import AsJson, Workspace
from workbench.cli.output import emit, note
from workbench.errors import UsageError

_Notebook = Annotated[Path, typer.Argument(help="A notebook with a cell tagged `parameters`.")]
_Pairs = Annotated[
    list[str] | None, typer.Option("-p", "--parameter", help="NAME=VALUE, as often as needed.")
]
_To = Annotated[Path, typer.Option("--to", help="The folder for the page and the notebook.")]
_Store = Annotated[
    str | None,
    typer.Option("--store", "--target", help="A server's address or a folder of exported runs."),
]
_Ask = Annotated[
    bool, typer.Option("--help-notebook", help="Say which parameters the notebook has.")
]


def report(
    notebook: _Notebook,
    *,
    parameter: _Pairs = None,
    to: _To = Path(),
    store: _Store = None,
    workspace: Workspace = None,
    help_notebook: _Ask = False,
    as_json: AsJson = False,
) -> None:
    """Execute a report notebook and write it as one HTML page that opens anywhere.

    The executed notebook is kept also when a cell fails.

    Example:

        workbench report notebooks/reports/incident.ipynb -p run=RUN --to out
    """
    if help_notebook:
        _print_parameters(notebook, as_json=as_json)
        return
    from workbench.report import run_report

    if workspace is not None:
        os.environ["WORKBENCH_WORKSPACE"] = workspace  # the notebook's kernel inherits it
    made = run_report(
        notebook,
        to=to,
        parameters=dict(_pair(pair) for pair in parameter or []),
        target=store,
        progress=lambda line: note(f"report: {line}"),
    )
    document = {
        "html": str(made.html),
        "notebook": str(made.notebook),
        "seconds": made.seconds,
        "parameters": made.parameters,
    }
    emit(document, as_json=as_json, text=f"{made.html}\n{made.notebook}")


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise UsageError(
            "a parameter is not NAME=VALUE", found=repr(text), expected="-p NAME=VALUE"
        )
    return name.strip(), value


def _print_parameters(notebook: Path, *, as_json: bool) -> None:
    from workbench.report import parameters as cells

    known = cells.declared(cells.read_notebook(notebook), where=str(notebook))
    document = {
        p.name: {"type": p.annotation, "default": p.default, "help": p.help} for p in known.values()
    }
    page = cells.help_page(known, name=notebook.name)
    emit({"parameters": document}, as_json=as_json, text=page)
