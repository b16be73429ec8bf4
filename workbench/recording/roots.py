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
        self._odd: dict[tuple[str, int], bytes] = {}

    def add(self, writer: str, number: int, digest: str) -> None:
        """Add an event by its writer, that one's own number, and its digest."""
        leaf = bytes.fromhex(digest)
        if len(leaf) != _BYTES:  # nobody's sha-256: it is a leaf as it is
            self._odd[writer, len(self._numbers[writer])] = leaf
        self._numbers[writer].append(number)
        self._digests[writer] += leaf if len(leaf) == _BYTES else bytes(_BYTES)

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
            leaves = (self._leaf(writer, place, digests) for place in range(len(numbers)))
            if all(one < other for one, other in itertools.pairwise(numbers)):
                yield from leaves
            else:
                yield from (leaf for _, leaf in sorted(zip(numbers, leaves, strict=True)))

    def _leaf(self, writer: str, place: int, digests: bytearray) -> bytes:
        if self._odd and (writer, place) in self._odd:
            return self._odd[writer, place]
        return bytes(digests[place * _BYTES : (place + 1) * _BYTES])
