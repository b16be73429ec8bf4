"""Execute a report notebook with papermill, and keep it whatever happens."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.errors import ReportFailed, UsageError
from workbench.report import parameters as cells

Progress = Callable[[str], None]
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_QUIET_KERNEL = ["--IPKernelApp.log_level=40"]
_MARKER = "papermill-error-cell-tag"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Where a report is: the page, the executed notebook, and the seconds it took."""

    html: Path
    notebook: Path
    seconds: float
    parameters: dict[str, Any]


def run_report(
    notebook: str | Path,
    *,
    to: str | Path,
    parameters: Mapping[str, Any] | None = None,
    target: str | None = None,
    progress: Progress | None = None,
) -> Report:
    """Execute a report notebook and write it as one HTML page that needs nothing else.

    Parameters
    ----------
    notebook
        A notebook with a cell tagged ``parameters``.
    to
        The folder for ``NAME.ipynb`` (executed) and ``NAME.html``; made if it is not there.
    parameters
        Values by name. Text is read in the type that the parameters cell declares.
    target
        The store to report on, given to the notebook as its parameter ``store``.
    progress
        Called with one plain line for each stage.

    Raises
    ------
    UnknownParameter
        The notebook has no parameter of such a name.
    ReportFailed
        A cell raised. Notebook and page are written all the same and show the error.
    """
    began = time.monotonic()
    source, folder = Path(notebook), Path(to)
    given = _given(source, dict(parameters or {}), target, folder)
    executed, page = folder / f"{source.stem}.ipynb", folder / f"{source.stem}.html"
    _prepare(folder, source, executed)
    failure = execute(source, executed, parameters=given, progress=progress)
    _export(executed, page)
    if failure is not None:
        failure.facts |= {"notebook": str(executed), "html": str(page)}
        raise failure
    seconds = round(time.monotonic() - began, 2)
    return Report(html=page, notebook=executed, seconds=seconds, parameters=given)


def _given(source: Path, given: dict[str, Any], target: str | None, folder: Path) -> dict[str, Any]:
    known = cells.declared(cells.read_notebook(source), where=str(source))
    if target is not None:
        given = {"store": target} | given
    given = cells.checked(known, given, where=str(source))
    if "output" in known:
        given.setdefault("output", str(folder))
    return given


def _prepare(folder: Path, source: Path, executed: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError("the folder cannot be made", where=str(folder)) from error
    if executed.exists() and executed.samefile(source):
        raise UsageError(
            "the report would overwrite its own notebook",
            where=str(executed),
            hint="Choose another folder with --to.",
        )


def execute(
    source: Path, executed: Path, *, parameters: dict[str, Any], progress: Progress | None = None
) -> ReportFailed | None:
    """Run every cell in a new kernel and return the first failure, if any."""
    import papermill
    from papermill.exceptions import PapermillExecutionError

    _register_engine(progress)
    logging.getLogger("papermill").setLevel(logging.ERROR)
    try:
        papermill.execute_notebook(
            str(source),
            str(executed),
            parameters,
            engine_name="workbench",
            progress_bar=False,
            extra_arguments=_QUIET_KERNEL,
        )
    except PapermillExecutionError as error:
        _remove_markers(executed)
        return _failure(error, executed)
    return None


def _failure(error: Any, executed: Path) -> ReportFailed:
    reason = _ANSI.sub("", str(error.evalue)).strip()
    first = reason.splitlines()[0] if reason else ""
    return ReportFailed(
        f"a cell of the report raised {error.ename}{': ' if first else ''}{first}",
        where=f"{executed}, cell [{error.exec_count}]",
        hint=_hint(reason),
        error=error.ename,
        reason=reason,
        source=error.source,
    )


def _hint(reason: str) -> str:
    told = reason.partition("\nHint: ")[2]
    return told or "The executed notebook is kept: open it at the failing cell."


def _remove_markers(executed: Path) -> None:
    """Papermill repeats the error in two cells of its own; the failing cell shows it once."""
    import nbformat

    notebook = nbformat.read(executed, as_version=4)
    notebook.cells = [c for c in notebook.cells if _MARKER not in c.metadata.get("tags", [])]
    nbformat.write(notebook, executed)


def _register_engine(progress: Progress | None) -> None:
    from papermill.engines import NBClientEngine, papermill_engines

    class Announcing(NBClientEngine):  # type: ignore[misc] # papermill is not typed
        """Papermill's own engine, which says in plain lines how far it is."""

        @classmethod
        def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, **kw: Any) -> Any:
            if progress is not None:
                _announce(nb_man, progress)
            return super().execute_managed_notebook(nb_man, kernel_name, **kw)

    papermill_engines.register("workbench", Announcing)


def _announce(nb_man: Any, progress: Progress) -> None:
    start, total = nb_man.cell_start, len(nb_man.nb.cells)

    def cell_start(cell: Any, cell_index: int = 0, **kw: Any) -> None:
        progress(f"cell {cell_index + 1} of {total}{_title(cell)}")
        start(cell, cell_index, **kw)

    nb_man.cell_start = cell_start


def _title(cell: Any) -> str:
    first = cell.source.strip().splitlines()[0] if cell.source.strip() else ""
    return f": {first.lstrip('# ')[:60]}" if first else ""


def _export(executed: Path, page: Path) -> None:
    from workbench.report.export import write_page

    write_page(executed, page)
