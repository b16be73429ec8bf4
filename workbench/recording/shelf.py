"""Bytes put aside: in memory while they are few, in a temporary file when they are many."""

from __future__ import annotations

import os
import tempfile
import weakref
from array import array
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import orjson

from workbench import hashing
from workbench.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

IN_MEMORY = 1 << 23
"""How many bytes are kept before they are written to the file: 8 MiB."""


class Shelf:
    """Gives each piece a number from 0 on. The file has no name, so nothing is left behind.

    Raises
    ------
    Unavailable
        There is no room for the file; the folder of temporary files is that of ``TMPDIR``. What was
        put is in memory then, and nothing is lost.

    Examples
    --------
    >>> shelf = Shelf()
    >>> shelf.put(b"one"), shelf.put(b"two")
    (0, 1)
    >>> shelf[1]
    b'two'
    """

    def __init__(self, *, in_memory: int = IN_MEMORY) -> None:
        self._in_memory = in_memory
        self._begins = array("Q", [0])
        self._written = 0
        self._last = bytearray()
        self._file: int | None = None

    def __len__(self) -> int:
        return len(self._begins) - 1

    def put(self, piece: bytes) -> int:
        """Keep bytes, and return their number."""
        self._last += piece
        self._begins.append(self._begins[-1] + len(piece))
        if len(self._last) >= self._in_memory:
            self._write()
        return len(self._begins) - 2

    def __getitem__(self, number: int) -> bytes:
        begin, end = self._begins[number], self._begins[number + 1]
        if self._file is None or begin >= self._written:
            return bytes(self._last[begin - self._written : end - self._written])
        return os.pread(self._file, end - begin, begin)

    def _write(self) -> None:
        try:
            if self._file is None:
                with tempfile.TemporaryFile(prefix="workbench-") as made:
                    self._file = os.dup(made.fileno())
                weakref.finalize(self, os.close, self._file)
            done = 0
            while done < len(self._last):
                # at its place: a forked process has the file too
                done += os.pwrite(self._file, self._last[done:], self._written + done)
        except OSError as error:
            raise Unavailable(
                "there is no room to put a recording aside",
                where=os.environ.get("TMPDIR", "the folder of temporary files"),
                found=str(error),
                hint="make room there, or set TMPDIR to a folder that has it",
            ) from error
        self._written += len(self._last)
        self._last = bytearray()


class Pool(Mapping[str, dict[str, Any]]):
    """Pooled messages by digest; each is parsed when it is asked for.

    Examples
    --------
    >>> pool = Pool([("ab", b'{"role":"user"}')])
    >>> pool["ab"], "cd" in pool, list(pool)
    ({'role': 'user'}, False, ['ab'])
    """

    def __init__(self, messages: Iterable[tuple[str, bytes]] = ()) -> None:
        self._shelf = Shelf()
        self._numbers: dict[str | bytes, int] = {}
        for digest, text in messages:
            self.put(digest, text)

    def put(self, digest: str, text: bytes) -> None:
        """Add a message, as JSON text."""
        self._numbers[_key(digest)] = self._shelf.put(text)

    def text(self, digest: str) -> bytes:
        """Return a message as the JSON text that it was put here by."""
        return self._shelf[self._numbers[_key(digest)]]

    def __getitem__(self, digest: str) -> dict[str, Any]:
        found: dict[str, Any] = orjson.loads(self.text(digest))
        return found

    def __contains__(self, digest: object) -> bool:
        return isinstance(digest, str) and _key(digest) in self._numbers

    def __iter__(self) -> Iterator[str]:
        return (key if isinstance(key, str) else key.hex() for key in self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)


def _key(digest: str) -> str | bytes:
    # half as much to hold
    return bytes.fromhex(digest) if hashing.is_sha256(digest) else digest
