"""The verb: a run as one file that replays elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workbench.errors import NotFound
from workbench.replay import certificate, keeping
from workbench.store import bundle as bundles

if TYPE_CHECKING:
    from os import PathLike
    from pathlib import Path

    from workbench.store.run import Run


def bundle(run: Run, path: str | PathLike[str], *, overwrite: bool = False) -> Path:
    """Write a run, its artifacts, its certificate and its agent's name as one file.

    A replay brings its own certificate, and its source where that is in the same store; any other
    run gets one that says what it is.

    Parameters
    ----------
    run
        The run; it has ended.
    path
        A file that does not exist yet; with ``overwrite`` also an earlier bundle. Equal runs give
        equal bytes.

    Returns
    -------
    pathlib.Path
        The file. `workbench.open`, `workbench.verify` and ``workbench replay`` take it.

    Raises
    ------
    Conflict
        There is a file already.
    """
    raw, beside = keeping.kept(run), []
    if raw is None:
        read = run.recording()
        document = certificate.of_recording(read, run.info)
        raw = certificate.dumps(document)
    else:
        document = certificate.load(raw, where=f"the certificate of run {run.run_id}")
        beside = _source(run, document)
    return bundles.write(
        run,
        path,
        certificate=raw,
        agent={
            "entry_point": document["agent"],
            "python": document["python"],
            "distributions": document["distributions"],
        },
        beside=beside,
        overwrite=overwrite,
    )


def _source(run: Run, document: dict[str, Any]) -> list[Run]:
    """Return the source of a replay where its store has it."""
    wanted = certificate.sides(document).get("source", run.run_id)
    try:
        return [run.store.run(wanted)] if wanted != run.run_id else []
    except NotFound:
        return []
