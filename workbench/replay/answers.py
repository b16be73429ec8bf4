"""How the calls of a replay were answered: the last in memory, those before them put aside."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from workbench.errors import Unavailable
from workbench.recording import Shelf

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_TOGETHER = 1_000


class Answered(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How one call of the replay was answered: a row of `ReplayResult.matches`."""

    lane: str
    ordinal: int
    kind: str
    name: str
    signature: str
    match_level: str
    source_seq: int | None
    source_run_id: str | None = None


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Answered]).decode


class Answers:
    """Rows in the order asked, of which any number may be added.

    Examples
    --------
    >>> answers = Answers()
    >>> len(answers), list(answers)
    (0, [])
    """

    def __init__(self, rows: Iterable[Answered] = ()) -> None:
        self._shelf = Shelf()
        self._last: list[Answered] = []
        self._before = 0
        for row in rows:
            self.append(row)

    def append(self, row: Answered) -> None:
        """Add a row."""
        self._last.append(row)
        if len(self._last) >= _TOGETHER:
            with suppress(Unavailable):  # no room on the disk: it is kept in memory then
                self._shelf.put(_encode(self._last))
            self._before += len(self._last)
            self._last = []

    def __len__(self) -> int:
        return self._before + len(self._last)

    def __iter__(self) -> Iterator[Answered]:
        for rows in self.pages():
            yield from rows

    def pages(self) -> Iterator[list[Answered]]:
        """Give the rows some at a time."""
        for number in range(len(self._shelf)):
            yield _decode(self._shelf[number])
        yield self._last
