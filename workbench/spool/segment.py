"""A segment: one file of a writer's events, in their order, as lines of JSON.

The first line says whose they are; each of the others is an event as it is sent, or ``{"bodies":
{digest: message}}`` ahead of the events that name them. A file is only ever appended to, by one
process, which holds its lock; so whatever was written is there after the process was killed. A last
line that does not end is what a killed process did not finish.
"""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

import msgspec

from workbench.errors import SpoolFailed
from workbench.schema import RunHeader  # noqa: TC001 - msgspec reads it

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FORMAT = 1
SUFFIX = ".ndjson"
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FIRST_READ = 2**16


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


class Segment:
    """A segment that is open, and this process's own until it is closed."""

    def __init__(self, path: Path, handle: int, header: Header, *, begin: int, size: int) -> None:
        self.path = path
        self.header = header
        self.begin = begin
        self.size = size
        self._handle = handle
        self._synced = begin

    @classmethod
    def create(cls, path: Path, header: Header) -> Self:
        """Make a new segment, or say why the disk takes none."""
        with _told(path):
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        line = msgspec.json.encode(header) + b"\n"
        segment = cls(path, handle, header, begin=len(line), size=0)
        try:
            segment.append(line)
        except SpoolFailed:
            segment.remove()
            raise
        return segment

    @classmethod
    def take(cls, path: Path) -> Self | None:
        """Open a segment whose writer is gone; None where it still lives, or this is none.

        What the writer did not finish is cut off.
        """
        try:
            handle = os.open(path, os.O_RDWR | os.O_APPEND)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _failed(path, error) from error
        found = None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            found = _header(handle)
        except BlockingIOError:
            return None
        finally:
            if found is None:
                os.close(handle)
        if found is None:
            return None
        header, begin = found
        segment = cls(path, handle, header, begin=begin, size=os.fstat(handle).st_size)
        segment._cut_unfinished()
        return segment

    def append(self, lines: bytes) -> None:
        """Write lines at the end; after a full disk the file is as it was before."""
        try:
            written = os.write(self._handle, lines)
            while written < len(lines):
                written += os.write(self._handle, memoryview(lines)[written:])
        except OSError as error:
            os.ftruncate(self._handle, self.size)
            raise _failed(self.path, error) from error
        self.size += len(lines)

    def sync(self) -> None:
        """Bring what was written to the disk itself: then it outlasts the machine, too."""
        if self._synced < self.size and self._handle >= 0:
            size = self.size
            with _told(self.path):
                os.fdatasync(self._handle)
            self._synced = size

    def read(self, begin: int, end: int) -> bytes:
        """Return what lies between two places."""
        parts = []
        while begin < end:
            with _told(self.path):
                part = os.pread(self._handle, end - begin, begin)
            if not part:
                break  # somebody cut the file
            parts.append(part)
            begin += len(part)
        return b"".join(parts)

    def lines(self) -> Iterator[tuple[bytes, int, int]]:
        """Yield each line after the header, and the places where it begins and ends."""
        rest, at = b"", self.begin
        for start in range(self.begin, self.size, _FIRST_READ):
            rest += self.read(start, min(start + _FIRST_READ, self.size))
            *whole, rest = rest.split(b"\n")
            for line in whole:
                yield line, at, at + len(line) + 1
                at += len(line) + 1

    def remove(self) -> None:
        """Delete the file: everything in it was acknowledged, or counted as lost."""
        self.path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def _cut_unfinished(self) -> None:
        end = self.size
        while end > self.begin:
            start = max(self.begin, end - _FIRST_READ)
            found = self.read(start, end).rfind(b"\n")
            if found >= 0:
                end = start + found + 1
                break
            end = start
        if end < self.size:
            with _told(self.path):
                os.ftruncate(self._handle, end)
            self.size = end


def _header(handle: int) -> tuple[Header, int] | None:
    """Read whose the segment is, and where its events begin; None where the file is none."""
    data, size = b"", os.fstat(handle).st_size
    while b"\n" not in data and len(data) < size:
        part = os.pread(handle, _FIRST_READ, len(data))
        if not part:
            return None
        data += part
    line, newline, _ = data.partition(b"\n")
    try:
        header = msgspec.json.decode(line, type=Header)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return (header, len(line) + 1) if newline and header.workbench_spool == FORMAT else None


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _failed(path, error) from error


def _failed(path: Path, error: OSError) -> SpoolFailed:
    full = error.errno in _FULL
    return SpoolFailed(
        "the disk is full" if full else "the spool cannot be written",
        where=str(path),
        found=os.strerror(error.errno) if error.errno else str(error),
        hint="Make room, or set WORKBENCH_SPOOL to a folder on another disk.",
        full=full,
    )
