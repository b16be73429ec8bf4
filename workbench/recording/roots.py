"""The root over a log's digests, of which each is held by its 32 bytes."""

from __future__ import annotations

import itertools
from array import array
from collections import defaultdict
from typing import TYPE_CHECKING

from workbench import hashing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_BYTES = 32


class LogRoot:
    """Takes the events of a log in any order; see `workbench.hashing.log_root`.

    Examples
    --------
    >>> log = LogRoot()
    >>> log.add("w", 1, "ab" * 32)
    >>> log.root == hashing.log_root([("w", 1, "ab" * 32)])
    True
    """

    def __init__(self) -> None:
        self._numbers: dict[str, array[int]] = defaultdict(lambda: array("q"))
        self._digests: dict[str, bytearray] = defaultdict(bytearray)

    def add(self, writer: str, number: int, digest: str) -> None:
        """Add an event by its writer, that one's own number, and its digest."""
        self._numbers[writer].append(number)
        self._digests[writer] += bytes.fromhex(digest)

    def add_all(self, writer: str, numbers: Iterable[int], digests: Iterable[str]) -> None:
        """Add events of one writer, whose digests are sha-256 in hex."""
        self._numbers[writer].extend(numbers)
        self._digests[writer] += bytes.fromhex("".join(digests))

    @property
    def root(self) -> str:
        """The root over what was added."""
        return hashing.merkle_root(self._in_order())

    @property
    def last_numbers(self) -> dict[str, int]:
        """The last number of each writer."""
        return {writer: max(numbers) for writer, numbers in self._numbers.items()}

    def _in_order(self) -> Iterator[bytes]:
        for writer in sorted(self._numbers):
            numbers, digests = self._numbers[writer], self._digests[writer]
            leaves = (bytes(digests[at : at + _BYTES]) for at in range(0, len(digests), _BYTES))
            if all(one < other for one, other in itertools.pairwise(numbers)):
                yield from leaves
            else:
                yield from (leaf for _, leaf in sorted(zip(numbers, leaves, strict=True)))
