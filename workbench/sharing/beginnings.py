"""How far a list begins like another one, and from when on that is worth a reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

WORTH = 2  # a reference is about as long as one thing that is named


def shared_beginning(one: Sequence[object], other: Sequence[object]) -> int:
    """Return how many items two lists have in common at their beginning.

    Examples
    --------
    >>> shared_beginning("abc", "abd")
    2
    """
    count = 0
    for mine, theirs in zip(one, other, strict=False):
        if mine != theirs:
            break
        count += 1
    return count
