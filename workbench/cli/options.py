"""Options that many commands share, and how a command opens its store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from workbench.store import Store

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Home = Annotated[
    Path | None, typer.Option("--home", help="The stack's folder (default: WORKBENCH_HOME).")
]
Target = Annotated[
    str | None,
    typer.Option("--store", help="A server's address or a folder of exported runs."),
]
Workspace = Annotated[
    str | None,
    typer.Option("--workspace", "-w", help="The workspace (default: WORKBENCH_WORKSPACE)."),
]


def opened(target: str | None = None, *, workspace: str | None = None) -> Store:
    """Open a command's store: the target, else ``WORKBENCH_URL``, else the local stack.

    The store is a context manager::

        with opened(store, workspace=workspace) as opened_store:
            ...
    """
    from workbench.local import open as open_store

    return open_store(target, workspace=workspace)
