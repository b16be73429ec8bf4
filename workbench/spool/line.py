"""A writer's line of segments: written at one end, sent and removed at the other."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import msgspec

from workbench.errors import SpoolFailed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from workbench.schema import RunHeader
    from workbench.spool.folder import SpoolFolder
    from workbench.spool.header import Header
    from workbench.spool.segment import Segment

SEGMENT_BYTES = 8 * 2**20
PIECE_BYTES = 2**20
_ALL = 2**63
_BODIES = b'{"bodies"'


@dataclass(slots=True)
class _Piece:
    """Lines that are sent together: the numbers of their events, and where they lie."""

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


class Rewriting(Protocol):
    """What changes events that wait, and what is said of their run; it meets them in order."""

    def header(self, run: RunHeader) -> RunHeader:
        """Return what is said of the run instead."""

    def lines(self, raw: bytes) -> bytes:
        """Return the same events' lines instead."""


class Line:
    """One writer's events on the disk; its two ends may be used by two threads.

    What was acknowledged stays until all of its segment is: so it can be sent again where a store
    turns out to have lost it.
    """

    def __init__(self, folder: SpoolFolder, header: Header) -> None:
        self.header = header
        # A bound that is small must not be taken up by one piece, or by what is acknowledged.
        self.piece_bytes = min(PIECE_BYTES, folder.most // 4)
        self._folder = folder
        self._lock = threading.Lock()
        self._pieces: deque[_Piece] = deque()
        self._done = 0  # so many of the pieces are acknowledged
        self._next = 0  # the piece that is sent next
        self._segment: Segment | None = None
        self._number = 0  # of the last segment

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
            self._add(_Piece(first, last, segment, begin, segment.size))

    def _room_for(self, size: int) -> Segment:
        last = self._segment
        if last is None or last.broken or last.begin < last.size > SEGMENT_BYTES - size:
            header = msgspec.structs.replace(self.header, number=self._number + 1)
            self._segment = self._folder.segment(header)
            self._number += 1
            return self._segment
        return last

    def _add(self, piece: _Piece) -> None:
        """Keep small pieces as one, while nobody has been given it: there may be millions."""
        given = max(self._next, self._done)
        before = self._pieces[-1] if len(self._pieces) > given else None
        if before is None or not _fit_together(before, piece):
            self._pieces.append(piece)
        else:
            before.last, before.end = piece.last, piece.end

    def sync(self) -> None:
        """Bring what waits to the disk itself; nobody waits for it at either end."""
        with self._lock:
            segments = _distinct(piece.segment for piece in self._waiting())
            dirty = [(s, handle, s.size) for s in segments if (handle := s.dirty()) is not None]
        failing: SpoolFailed | None = None
        for segment, handle, size in dirty:
            try:
                segment.sync(handle, size)
            except SpoolFailed as error:
                failing = error
        if failing is not None:
            raise failing

    # ---- the end that is sent

    @property
    def waiting(self) -> int:
        """How many events no store has acknowledged."""
        with self._lock:
            return sum(piece.last - piece.first + 1 for piece in self._waiting())

    def block(self) -> Block | None:
        """Return what is to be sent next, or None where nothing waits."""
        with self._lock:
            if self._next >= len(self._pieces):
                return None
            piece = self._pieces[self._next]
            self._next += 1
        return Block(piece.segment.read(piece.begin, piece.end), piece.first, piece.last)

    def go_back(self, to: int | None = None) -> bool:
        """Send again from an event, or from the first that waits; False where it is not here."""
        with self._lock:
            if to is None:
                self._next = self._done
                return self._done < len(self._pieces)
            for at, piece in enumerate(self._pieces):
                if piece.first <= to <= piece.last:
                    self._next = at
                    return True
            return False

    def acknowledge(self, last: int) -> None:
        """Count the events up to a number as stored; a segment that holds no other is removed."""
        with self._lock:
            done = self._done
            while self._done < len(self._pieces) and self._pieces[self._done].last <= last:
                self._done += 1
            if self._done > done:
                self._next = max(self._next, self._done)
            removed = self._forget()
        for segment in removed:
            segment.remove()

    def rewrite(self, new: Rewriting) -> None:
        """Write what waits as it may be stored, and remove the files it lay in.

        A process killed meanwhile leaves both: what is sent twice is known the second time.

        Raises
        ------
        SpoolFailed
            The disk took not all of it: what waits is as it was.
        """
        with self._lock:
            run, number = new.header(self.header.run), self._highest_number()
            waiting = list(self._waiting())
            old = _distinct([*(p.segment for p in self._pieces), *filter(None, [self._segment])])
            made: list[Segment] = []
            try:
                for segment in _distinct(piece.segment for piece in waiting):
                    begin = next(p.begin for p in waiting if p.segment is segment)
                    header = msgspec.structs.replace(
                        self.header, run=run, number=number + len(made) + 1
                    )
                    made.append(self._folder.segment(header))
                    made[-1].append(new.lines(segment.read(begin, segment.size)))
            except BaseException:
                for segment in made:
                    segment.remove()
                raise
            self.header = msgspec.structs.replace(self.header, run=run)
            self._pieces = deque(piece for segment in made for piece in _pieces_of(segment))
            self._done = self._next = 0
            self._segment, self._number = None, number + len(made)
        for segment in old:
            segment.remove()

    def _highest_number(self) -> int:
        held = [piece.segment.header.number for piece in self._pieces]
        return max([self._number, *held])

    def give_up(self) -> int:
        """Remove all that waits, and return how many events that were."""
        waiting = self.waiting
        self.acknowledge(_ALL)
        return waiting

    def _forget(self) -> list[Segment]:
        """Drop the pieces of segments that are acknowledged as a whole, and return these."""
        kept = {id(piece.segment) for piece in self._waiting()}
        if self._segment is not None and self._segment.size < self.piece_bytes:
            kept.add(id(self._segment))  # a file for every few events would cost more
        done: list[Segment] = []
        while self._pieces and id(self._pieces[0].segment) not in kept:
            piece = self._pieces.popleft()
            self._done, self._next = self._done - 1, max(0, self._next - 1)
            if not done or done[-1] is not piece.segment:
                done.append(piece.segment)
            if piece.segment is self._segment:
                self._segment = None
        return done

    def close(self) -> None:
        """Let go: what waits stays on the disk, and an empty line leaves nothing there."""
        with self._lock:
            waiting = {id(piece.segment) for piece in self._waiting()}
            held = [piece.segment for piece in self._pieces]
            held += [] if self._segment is None else [self._segment]
            self._segment = None
            for segment in _distinct(held):
                if id(segment) in waiting:
                    segment.close()
                else:
                    with suppress(SpoolFailed):  # it is sent again, and known there
                        segment.remove()

    def let_go(self) -> None:
        """Close the files and leave them as they are, in a process that was forked."""
        self._lock = threading.Lock()  # whoever held it is not here
        segments = [piece.segment for piece in self._pieces]
        for segment in _distinct([*segments, *([self._segment] if self._segment else [])]):
            segment.close()

    def _waiting(self) -> Iterator[_Piece]:
        return itertools.islice(self._pieces, self._done, None)


def _fit_together(one: _Piece, other: _Piece) -> bool:
    return (
        one.segment is other.segment
        and one.end == other.begin
        and one.last + 1 == other.first
        and other.end - one.begin <= PIECE_BYTES
    )


def _pieces_of(segment: Segment) -> list[_Piece]:
    """Find the pieces of a segment again: as many events as go together, their bodies with them."""
    found: list[_Piece] = []
    begin = segment.begin
    for raw, _, end in segment.lines():
        if raw.startswith(_BODIES):
            continue  # they go with the event behind them
        number = _number_of(raw)
        if number is not None:
            piece = _Piece(number, number, segment, begin, end)
            if found and _fit_together(found[-1], piece):
                found[-1].last, found[-1].end = number, end
            else:
                found.append(piece)
        begin = end  # else the disk is damaged; the store will say what is missing
    return found


def _number_of(raw: bytes) -> int | None:
    try:
        return _number.decode(raw).writer_seq
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _distinct(segments: Iterable[Segment]) -> list[Segment]:
    return list({id(segment): segment for segment in segments}.values())
