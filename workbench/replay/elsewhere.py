"""Which questions were answered by another recorded call than the one at their position.

A call that was changed is passed over where a later, equal one answers in its place: it then is the
later one's turn that finds nothing. What is kept here leads back to where it began.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workbench.recording import RecordedCall
    from workbench.replay.engine import Question

    Place = tuple[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Displaced:
    """A question that another call answered (``by``), or none, and the call it passed over.

    ``here`` is None where the recording has no call at its position; ``number`` is its turn among
    such questions.
    """

    number: int
    asked: Question
    here: RecordedCall | None
    by: RecordedCall | None


class Elsewhere:
    """The questions answered from elsewhere: the first, and those whose own calls still wait."""

    def __init__(self) -> None:
        self._number = 0
        # what came after the first may follow from it
        self._first: Displaced | None = None
        self._waiting: dict[int, Displaced] = {}
        self._signatures: dict[Place, str] = {}
        self._told: set[Place] = set()
        self._askers: dict[int, Place] = {}

    def note(
        self, asked: Question, here: RecordedCall | None, by: RecordedCall | None, *, waits: bool
    ) -> None:
        """Keep a question that a call of another position answers, or none.

        ``waits`` says whether the call at its own position is still to be had.
        """
        place = asked.lane, asked.ordinal
        self._signatures[place] = asked.signature
        if by is not None:
            self._askers[by.seq] = place
            self._waiting.pop(by.seq, None)  # it was asked for after all, only later
        if place in self._told:
            return
        self._number += 1
        found = Displaced(number=self._number, asked=asked, here=here, by=by)
        if self._number == 1:
            self._first = found
        if here is not None and waits:
            self._waiting[here.seq] = found

    def tell(self, asked: Question) -> None:
        """Note that a position's difference is told, so that it is not told again."""
        place = asked.lane, asked.ordinal
        self._signatures[place] = asked.signature
        self._told.add(place)

    def told(self) -> list[Displaced]:
        """Return what is to be told now, in the order asked; nothing is returned twice."""
        kept = {one.number: one for one in (self._first, *self._waiting.values()) if one}
        self._first = None
        self._waiting.clear()
        found = [kept[number] for number in sorted(kept)]
        for one in found:
            self.tell(one.asked)
        return found

    def robbed(self, one: Displaced) -> bool | None:
        """Say whether the call that answered was wanted again at its own position.

        None where that position has not been asked for.
        """
        by = one.by
        turn = None if by is None else self._signatures.get((by.lane, by.ordinal))
        return None if by is None or turn is None else turn == by.signature

    def asker(self, call: RecordedCall) -> Place:
        """Return the position whose question a call answered."""
        return self._askers.get(call.seq, (call.lane, call.ordinal))
