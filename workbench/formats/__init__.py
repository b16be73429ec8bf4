"""Foreign records become runs, purely: bytes in, header, events and message bodies out.

A format's ``records`` cuts a file into its records' own slices of bytes, its ``trace`` reads one of
them, `imported` turns what was read into a run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

from workbench.formats import agentdojo, tau2, tau_bench
from workbench.formats.events import WRITER, counts, imported
from workbench.formats.slices import Slice
from workbench.formats.trace import Call, Counts, Imported, Message, Trace

if TYPE_CHECKING:
    from pathlib import PurePath

Format = Literal["agentdojo", "tau-bench", "tau2"]

FORMATS: tuple[Format, ...] = get_args(Format)

__all__ = [
    "FORMATS",
    "WRITER",
    "Call",
    "Counts",
    "Format",
    "Imported",
    "Message",
    "Slice",
    "Trace",
    "counts",
    "imported",
    "records",
    "trace",
]


class _Reader(Protocol):
    def records(self, data: bytes, *, where: str | None = None) -> tuple[Any, list[Slice]]: ...

    def trace(
        self, piece: Slice, *, context: Any, path: PurePath, where: str | None = None
    ) -> Trace: ...


_READERS: dict[Format, _Reader] = {
    "agentdojo": agentdojo,
    "tau-bench": tau_bench,
    "tau2": tau2,
}


def records(
    format_name: Format, data: bytes, *, where: str | None = None
) -> tuple[Any, list[Slice]]:
    """Cut a file into its records.

    Parameters
    ----------
    format_name
        The format the file should be of.
    data
        The file's bytes.
    where
        The file's name, for errors.

    Returns
    -------
    tuple
        What the file says once for all records, to be given to `trace`, and the slices.

    Raises
    ------
    UnknownFormat
        The file is of another format; ``looks_like`` in the facts names it where it is known.
    MalformedFile
        The file is broken; ``line`` in the facts says where.
    """
    return _READERS[format_name].records(data, where=where)


def trace(
    format_name: Format,
    piece: Slice,
    *,
    context: Any,
    path: PurePath,
    where: str | None = None,
) -> Trace:
    """Read one record; ``context`` is what `records` gave, ``path`` the file's absolute path.

    Raises
    ------
    MalformedFile
        The record is broken or lacks what a run needs.
    """
    return _READERS[format_name].trace(piece, context=context, path=path, where=where)
