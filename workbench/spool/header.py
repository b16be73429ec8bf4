"""A segment's first line: whose events it holds, and which store they are for."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

from workbench.errors import UnknownFormat
from workbench.schema import RunHeader  # noqa: TC001 - msgspec reads it

if TYPE_CHECKING:
    from pathlib import Path

FORMAT = 1
_READ = 2**16
_LONGEST = 2**24  # bytes; no header is as long, but a stranger's file may have no second line


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """Whose events a segment holds, and which store they are for.

    ``run`` is what the run is made with, where the store has never heard of it. ``workspace`` is
    the workspace's id, where it was known, and ``address`` where it was then; no key is ever
    written here. ``number`` counts a writer's segments from 1.
    """

    workbench_spool: int = FORMAT
    run: RunHeader
    writer: str
    number: int = 1
    address: str
    workspace: str | None = None


class _Format(msgspec.Struct):
    workbench_spool: int


def header_of(handle: int, path: Path) -> tuple[Header, int]:
    """Read whose an open segment is, and where its events begin.

    Raises
    ------
    UnknownFormat
        The file is no segment, or a newer version's.
    """
    line, newline, _ = _first_line(handle).partition(b"\n")
    try:
        found = msgspec.json.decode(line, type=_Format).workbench_spool
        if found == FORMAT and newline:
            return msgspec.json.decode(line, type=Header), len(line) + 1
    except (msgspec.MsgspecError, UnicodeDecodeError):
        found = 0
    if found > FORMAT:
        raise UnknownFormat(
            "a newer version of Workbench wrote this segment",
            where=str(path),
            expected=f"format {FORMAT}",
            found=f"format {found}",
            hint="Flush it with that version.",
        )
    raise UnknownFormat(
        "this is no segment of a spool",
        where=str(path),
        expected='a first line with "workbench_spool"',
        hint="Move it elsewhere: nothing reads it here.",
    )


def _first_line(handle: int) -> bytes:
    parts: list[bytes] = []
    at = 0
    while at < _LONGEST:
        part = os.pread(handle, _READ, at)
        parts.append(part)
        at += len(part)
        if not part or b"\n" in part:
            break
    return b"".join(parts)
