"""Bring runs that other tools recorded, or that were exported, into a store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from workbench import formats
from workbench.errors import Conflict, FormatError, MalformedFile, ReadOnly, UsageError
from workbench.importers import files, foreign, own
from workbench.importers.foreign import run_id_of
from workbench.importers.storing import Storing
from workbench.importers.summary import Skipped, Summary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from workbench.store import Store

FORMATS = (*formats.FORMATS, "workbench")
"""The formats `import_paths` knows."""

__all__ = ["FORMATS", "Skipped", "Summary", "import_paths", "refuse_wrong_use", "run_id_of"]


def import_paths(
    store: Store,
    format: str,  # noqa: A002 - the word everybody uses for it
    paths: Iterable[str | Path],
    *,
    progress: Callable[[int], None] | None = None,
) -> Summary:
    """Read files of one format and store their runs.

    The same bytes twice change nothing. Other bytes under the same source make a new run that
    replaces the older one. What is malformed is skipped, and the rest goes on.

    Parameters
    ----------
    store
        Where the runs go.
    format
        One of `FORMATS`.
    paths
        Files or folders; of a folder all its ``.json`` files.
    progress
        Called with the number of runs read so far.

    Returns
    -------
    Summary
        What was read, stored and skipped.

    Raises
    ------
    UnknownFormat, MalformedFile
        Nothing could be read at all; the first reason.
    Conflict
        Every run's id is taken by one with other events.
    UsageError
        The format is unknown, or a path does not exist.
    ReadOnly
        The store is an exported folder.
    """
    listed = [Path(path) for path in paths]
    refuse_wrong_use(format, listed)
    if store.read_only:
        raise ReadOnly("runs cannot be imported into an exported folder", where=store.address)
    summary = Summary()
    with Storing(store, summary, progress=progress) as storing:
        errors = _import(format, listed, storing=storing)
    first = next((error for error in errors if error is not None), None)
    if first is not None and None not in errors:
        raise _nothing_readable(first, summary)
    return summary


def refuse_wrong_use(format_name: str, paths: Sequence[Path]) -> None:
    """Refuse what cannot be meant, before a store is opened for it.

    Raises
    ------
    UsageError
        The format is unknown, no path is given, or one does not exist.
    """
    if format_name not in FORMATS:
        raise UsageError("there is no such format", found=format_name, expected=" ".join(FORMATS))
    if not paths:
        raise UsageError("there is no path to import")
    for path in paths:
        if not path.exists():
            raise UsageError("there is no such file or folder", where=str(path))


def _import(
    format_name: str, paths: list[Path], *, storing: Storing
) -> list[FormatError | Conflict | OSError | None]:
    """Import and return, for each file or folder, what made it unreadable, or null."""
    if format_name == "workbench":
        return [own.import_folder(folder, storing=storing) for folder in own.folders(paths)]
    known = next(name for name in formats.FORMATS if name == format_name)
    found = files.find(paths)
    if not found:
        where = ", ".join(str(path) for path in paths)
        raise MalformedFile("there is no .json file in the folder", where=where)
    return [foreign.import_file(each, known, storing=storing) for each in found]


def _nothing_readable(
    first: FormatError | Conflict | OSError, summary: Summary
) -> FormatError | Conflict:
    """Return the first reason, with everything that was skipped among its facts."""
    skipped = summary.as_dict()["skipped"]
    if isinstance(first, (FormatError, Conflict)):
        first.facts["skipped"] = skipped
        return first
    where = skipped[0]["file"]
    return MalformedFile("nothing could be read", where=where, found=str(first), skipped=skipped)
