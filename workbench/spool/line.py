"""A writer's line of segments: written at one end, sent and removed at the other."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from workbench.spool.folder import SpoolFolder
    from workbench.spool.segment import Header, Segment

SEGMENT_BYTES = 8 * 2**20
PIECE_BYTES = 2**20


@dataclass(slots=True)
class _Piece:
    """Lines that were written together: the numbers of their events, and where they lie."""

    first: int
    last: int
    segment: Segment
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Block:
    """Lines that are sent together, and the numbers of their first and last event."""

    lines: bytes
    first: int
    last: int


class _Number(msgspec.Struct):
    writer_seq: int | None = None


_number = msgspec.json.Decoder(_Number)


class Line:
    """One writer's events on the disk; its two ends may be used by two threads."""

    def __init__(self, folder: SpoolFolder, header: Header) -> None:
        self.header = header
        self._folder = folder
        self._lock = threading.Lock()
        self._pieces: deque[_Piece] = deque()
        self._next = 0  # the piece that is sent next
        self._segment: Segment | None = None

    @classmethod
    def taken_over(cls, folder: SpoolFolder, segments: list[Segment]) -> Line:
        """Return what a writer that is gone left behind; nothing more is written to it."""
        line = cls(folder, segments[0].header)
        for segment in segments:
            pieces = [*_pieces_of(segment)]
            line._pieces.extend(pieces)
            if not pieces:
                segment.remove()
        return line

    # ---- the end that is written

    def append(self, lines: bytes, *, first: int, last: int) -> None:
        """Write events ``first`` to ``last``.

        Raises
        ------
        SpoolFailed
            The disk, or the bound of the folder, did not take them; none of them is there.
        """
        self._folder.check_room(len(lines))
        with self._lock:
            segment = self._room_for(len(lines))
            begin = segment.size
            segment.append(lines)
            self._pieces.append(_Piece(first, last, segment, begin, segment.size))

    def _room_for(self, size: int) -> Segment:
        last = self._segment
        if last is None or (last.size + size > SEGMENT_BYTES and last.size > last.begin):
            number = 1 if last is None else last.header.number + 1
            self.header = msgspec.structs.replace(self.header, number=number)
            self._segment = self._folder.segment(self.header)
            return self._segment
        return last

    def sync(self) -> None:
        """Bring what waits to the disk itself."""
        with self._lock:
            segments = _distinct(piece.segment for piece in self._pieces)
        for segment in segments:
            segment.sync()

    # ---- the end that is sent

    @property
    def waiting(self) -> int:
        """How many events no store has acknowledged."""
        with self._lock:
            return sum(piece.last - piece.first + 1 for piece in self._pieces)

    def block(self, most: int = PIECE_BYTES) -> Block | None:
        """Return what is to be sent next: about ``most`` bytes, or None where nothing waits."""
        with self._lock:
            pieces: list[_Piece] = []
            for at in range(self._next, len(self._pieces)):
                piece = self._pieces[at]
                if pieces and (
                    piece.segment is not pieces[0].segment or piece.end - pieces[0].begin > most
                ):
                    break
                pieces.append(piece)
            if not pieces:
                return None
            self._next += len(pieces)
        lines = pieces[0].segment.read(pieces[0].begin, pieces[-1].end)
        return Block(lines, pieces[0].first, pieces[-1].last)

    def go_back(self, to: int | None = None) -> bool:
        """Send again from an event, or from the first that waits; False where it is not here."""
        with self._lock:
            if to is None:
                self._next = 0
                return bool(self._pieces)
            for at, piece in enumerate(self._pieces):
                if piece.last >= to:
                    self._next = at
                    return piece.first <= to
            return False

    def acknowledge(self, last: int) -> None:
        """Forget the events up to a number; a segment that holds no other is removed."""
        with self._lock:
            done: list[Segment] = []
            while self._pieces and self._pieces[0].last <= last:
                done.append(self._pieces.popleft().segment)
                self._next = max(0, self._next - 1)
            kept = {id(piece.segment) for piece in self._pieces} | {id(self._segment)}
            for segment in _distinct(done):
                if id(segment) not in kept:
                    segment.remove()

    def close(self) -> None:
        """Let go: what waits stays on the disk, and an empty line leaves nothing there."""
        with self._lock:
            waiting = {id(piece.segment) for piece in self._pieces}
            segments = _distinct(piece.segment for piece in self._pieces)
            if self._segment is not None and id(self._segment) not in waiting:
                self._segment.remove()
            for segment in segments:
                segment.close()
            self._segment = None


def _pieces_of(segment: Segment) -> Iterable[_Piece]:
    """Find the pieces of a segment again: as many events as go together, their bodies with them."""
    found: _Piece | None = None
    begin = segment.begin
    for raw, _, end in segment.lines():
        number = _number_of(raw)
        if number is None:
            continue  # bodies: they go with the event behind them
        if found is not None and end - found.begin > PIECE_BYTES:
            yield found
            found = None
        if found is None:
            found = _Piece(number, number, segment, begin, end)
        else:
            found.last, found.end = number, end
        begin = end
    if found is not None:
        yield found


def _number_of(raw: bytes) -> int | None:
    try:
        return _number.decode(raw).writer_seq
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None  # a damaged disk; the store will say what is missing


def _distinct(segments: Iterable[Segment]) -> list[Segment]:
    return list({id(segment): segment for segment in segments}.values())
