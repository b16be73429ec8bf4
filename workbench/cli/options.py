"""Options that many commands share, and how a command opens its store."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workbench.store import Run, Store

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


@contextmanager
def opened_run(wanted: str, target: str | None, *, workspace: str | None) -> Iterator[Run]:
    """Open a command's run: by its id or source in its store, or as the file of a bundle."""
    from workbench.store import BundleStore

    if target is None and Path(wanted).is_file():
        with BundleStore(wanted) as bundle:
            yield bundle.main
        return
    with opened(target, workspace=workspace) as there:
        yield there.run(wanted)


def import_from_here() -> None:
    """Let an agent be named from where the command is used, as ``python -m`` would."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
