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
import weakref
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Self

import msgspec

from workbench.errors import SpoolFailed
from workbench.spool.header import header_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from workbench.spool.header import Header

SUFFIX = ".ndjson"
# Under this name a segment is made, until it has its lock and its first line.
UNFINISHED = ".new"
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_READ = 2**16


class Segment:
    """A segment that is open, and this process's own until it is closed.

    ``broken`` says that a line at its end is not whole and could not be cut off: nothing may be
    written behind it.
    """

    def __init__(self, path: Path, handle: int, header: Header, *, begin: int, size: int) -> None:
        self.path = path
        self.header = header
        self.begin = begin
        self.size = size
        self.broken = False
        self._handle = handle
        self._synced = begin
        _open.add(self)

    @classmethod
    def create(cls, path: Path, header: Header) -> Self:
        """Make a new segment, or say why the disk takes none."""
        line = msgspec.json.encode(header) + b"\n"
        making = path.with_name(path.name + UNFINISHED)
        handle = -1
        try:
            handle = os.open(making, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _write(handle, line)
            # Nobody sees it before it is whole and locked: it is never taken for a dead writer's.
            making.rename(path)
        except OSError as error:
            if handle >= 0:
                os.close(handle)
                making.unlink(missing_ok=True)
            raise failed(path, error) from error
        return cls(path, handle, header, begin=len(line), size=len(line))

    @classmethod
    def take(cls, path: Path) -> Self | None:
        """Open a segment whose writer is gone; None where it still lives, or the file is gone.

        What the writer did not finish is cut off.

        Raises
        ------
        UnknownFormat
            The file is no segment, or a newer version's.
        SpoolFailed
            It cannot be opened.
        """
        try:
            handle = os.open(path, os.O_RDWR | os.O_APPEND)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise failed(path, error) from error
        segment = None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            found = os.fstat(handle)
            if found.st_nlink:  # else somebody else has delivered it since it was opened
                header, begin = header_of(handle, path)
                segment = cls(path, handle, header, begin=begin, size=found.st_size)
                segment._cut_unfinished()
        except BlockingIOError:
            pass
        except OSError as error:
            raise failed(path, error) from error
        finally:
            if segment is None:
                os.close(handle)
        return segment

    def append(self, lines: bytes) -> None:
        """Write lines at the end; after a full disk the file is as it was before."""
        try:
            _write(self._handle, lines)
        except OSError as error:
            try:
                os.ftruncate(self._handle, self.size)
            except OSError:
                self.broken = True
            raise failed(self.path, error) from error
        self.size += len(lines)

    def dirty(self) -> int | None:
        """Return a handle for `sync` where something is not on the disk itself yet.

        It is a handle of its own, since the file may be closed while the disk is busy.
        """
        if self._synced >= self.size or self._handle < 0:
            return None
        with _told(self.path):
            handle = os.dup(self._handle)
        _syncing.add(handle)
        return handle

    def sync(self, handle: int, size: int) -> None:
        """Bring the first ``size`` bytes to the disk itself: then they outlast the machine, too."""
        try:
            os.fdatasync(handle)
        except OSError as error:
            raise failed(self.path, error) from error
        finally:
            _syncing.discard(handle)
            os.close(handle)
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
        begun: list[bytes] = []  # the parts of a line whose end has not come
        at = self.begin
        for start in range(self.begin, self.size, _READ):
            first, *others = self.read(start, min(start + _READ, self.size)).split(b"\n")
            begun.append(first)
            for rest in others:
                line = b"".join(begun)
                yield line, at, at + len(line) + 1
                at += len(line) + 1
                begun = [rest]

    def remove(self) -> None:
        """Delete the file: everything in it was acknowledged, or counted as lost."""
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            raise failed(self.path, error) from error
        finally:
            self.close()

    def close(self) -> None:
        """Let go of the file."""
        if self._handle >= 0:
            handle, self._handle = self._handle, -1
            os.close(handle)

    def _cut_unfinished(self) -> None:
        end = self.size
        while end > self.begin:
            start = max(self.begin, end - _READ)
            found = self.read(start, end).rfind(b"\n")
            if found >= 0:
                end = start + found + 1
                break
            end = start
        if end < self.size:
            os.ftruncate(self._handle, end)
            self.size = end


def failed(path: Path, error: OSError) -> SpoolFailed:
    """Return the error that says what the disk refused."""
    full = error.errno in _FULL
    return SpoolFailed(
        "the disk is full" if full else "the spool cannot be read or written",
        where=str(path),
        found=os.strerror(error.errno) if error.errno else str(error),
        hint="Make room, or set WORKBENCH_SPOOL to a folder on another disk.",
        full=full,
    )


def _write(handle: int, lines: bytes) -> None:
    written = os.write(handle, lines)
    while written < len(lines):
        written += os.write(handle, memoryview(lines)[written:])


def writer_of(path: Path) -> str:
    """Return what the segments of one writer have in common in their names."""
    name = path.name.removesuffix(SUFFIX)
    return name.rpartition(".")[0] or name


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise failed(path, error) from error


_open: weakref.WeakSet[Segment] = weakref.WeakSet()
_syncing: set[int] = set()


def _let_go_in_child() -> None:
    """Close what a forked child has of its parent: it would keep the locks after its end."""
    for segment in list(_open):
        segment.close()
    while _syncing:
        with suppress(OSError):
            os.close(_syncing.pop())


os.register_at_fork(after_in_child=_let_go_in_child)
