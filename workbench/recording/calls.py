"""The calls of a recording: what is needed to find one is in memory, the rest is read with it."""

from __future__ import annotations

import sys
import threading
from array import array
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, overload

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from workbench import hashing, sharing
from workbench.recording.shelf import Shelf

if TYPE_CHECKING:
    from collections.abc import Iterator


class RecordedCall(
    Struct, frozen=True, kw_only=True, gc=False, array_like=True
):  # it holds no circles
    """One call of a recording.

    ``pieces`` are those of a stream, chunk by chunk, and None where the call did not stream.
    ``index`` is the place of what came back in the conversation an imported run was made of,
    ``ended_at`` in seconds since 1970.
    """

    seq: int
    ended_seq: int | None
    step_id: str
    kind: str
    name: str
    lane: str
    ordinal: int
    signature: str
    effect: str
    quality: str
    order: str
    status: str
    request: dict[str, Any]
    outcome: dict[str, Any] | None
    exception: dict[str, Any] | None
    usage: dict[str, Any] | None
    message_id: str | None
    pieces: tuple[list[Any], ...] | None
    tokens: dict[str, int | float]
    index: int | None = None
    ended_at: float | None = None

    @property
    def outcome_hash(self) -> str:
        """The hex sha-256 of what came of it: see `workbench.hashing.outcome_hash`."""
        pieces = None if self.pieces is None else [one for chunk in self.pieces for one in chunk]
        return hashing.outcome_hash(
            status=self.status, outcome=self.outcome, exception=self.exception, pieces=pieces
        )


_decode = msgspec.json.Decoder(RecordedCall).decode
_encode = msgspec.json.Encoder().encode
NEVER = 0
"""No event has this ``seq``."""
_FARTHEST = 64  # ordinals: how far behind the others one may stand in a list
_NOWHERE = -1
_BYTES = 32  # of a signature


class Calls(Sequence[RecordedCall]):
    """Recorded calls in the order they began; each is parsed anew when it is asked for.

    A call's number is its place in this order, from 0 on. ``seqs``, ``ended_seqs`` (0 where it
    never came back), ``kinds``, ``names``, ``lanes_of``, ``ordinals``, ``effects`` and
    ``qualities`` are columns by number.
    """

    def __init__(self) -> None:
        self.seqs = array("q")
        self.ended_seqs = array("q")
        self.ordinals = array("q")
        self.kinds: list[str] = []
        self.names: list[str] = []
        self.lanes_of: list[str] = []
        self.effects: list[str] = []
        self.qualities: list[str] = []
        self._signatures = bytearray()
        self._odd: dict[int, str] = {}
        self._shelf = Shelf()
        self._places = array("q")
        self._lanes: dict[str, array[int]] = {}
        self._far: dict[tuple[str, int], int] = {}
        self._ascending = True
        # of those that are named by others, by what they are named
        self._steps: dict[str, int] = {}
        self._named: set[str] = set()
        self._open: dict[int, bytes] = {}
        self._unfolding = sharing.Unfolding(earlier=self._as_stored)
        self._one = threading.Lock()

    # ---- one by one

    def __len__(self) -> int:
        return len(self.seqs)

    @overload
    def __getitem__(self, number: int) -> RecordedCall: ...
    @overload
    def __getitem__(self, number: slice) -> list[RecordedCall]: ...

    def __getitem__(self, number: int | slice) -> RecordedCall | list[RecordedCall]:
        if isinstance(number, slice):
            return [self[one] for one in range(*number.indices(len(self)))]
        call = _decode(self._shelf[self._places[number]])
        if not sharing.is_folded(call.request):
            return call
        with self._one:
            whole = self._unfolding.whole(call.step_id, call.request)
        return replace(call, request=whole)

    def __iter__(self) -> Iterator[RecordedCall]:
        return (self[number] for number in range(len(self)))

    def signature(self, number: int) -> str:
        """Return the signature of a call."""
        begin = number * _BYTES
        return self._odd.get(number) or self._signatures[begin : begin + _BYTES].hex()

    # ---- what is where

    @property
    def lanes(self) -> list[str]:
        """The lanes, in the order of their first calls."""
        return list(self._lanes)

    def number_at(self, lane: str, ordinal: int) -> int | None:
        """Return the number of the call at a position; of two there the first."""
        numbers = self._lanes.get(lane)
        if numbers is None:
            return None
        if not 0 < ordinal <= len(numbers):
            return self._far.get((lane, ordinal)) if self._far else None
        found = numbers[ordinal - 1]
        return None if found == _NOWHERE else found

    def at(self, lane: str, ordinal: int) -> RecordedCall | None:
        """Return the call at a position."""
        number = self.number_at(lane, ordinal)
        return None if number is None else self[number]

    def in_lane(self, lane: str) -> list[int]:
        """Return the numbers of a lane's calls in order of their ordinals."""
        near = [number for number in self._lanes.get(lane, ()) if number != _NOWHERE]
        far = sorted((one[1], number) for one, number in self._far.items() if one[0] == lane)
        return near + [number for _, number in far]

    def by_lane(self) -> dict[str, array[int]]:
        """Return lane → the numbers of all its calls, in order of their ordinals."""
        found: dict[str, array[int]] = {lane: array("q") for lane in self._lanes}
        began: Sequence[int] = range(len(self))
        if not self._ascending:
            began = sorted(began, key=self.seqs.__getitem__)
        for number in sorted(began, key=self.ordinals.__getitem__):
            found[self.lanes_of[number]].append(number)
        return found

    def number_of(self, seq: int) -> int | None:
        """Return the number of the call that began at an event."""
        if self._ascending:
            number = bisect_left(self.seqs, seq)
            return number if number < len(self.seqs) and self.seqs[number] == seq else None
        return self.seqs.index(seq) if seq in self.seqs else None

    def signed(self, signature: str) -> list[int]:
        """Return the numbers of the calls that ask the same."""
        return self._by_signature.get(signature, [])

    @cached_property
    def _by_signature(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = defaultdict(list)
        for number in range(len(self)):
            found[self.signature(number)].append(number)
        return dict(found)

    # ---- while a recording is read

    def begin(
        self, step_id: str, request: bytes, *, seq: int, ordinal: int, signature: str, **said: str
    ) -> int:
        """Add a call that began, with its request as JSON, and return its number.

        ``said`` is its ``kind``, ``name``, ``lane``, ``effect`` and ``quality``.
        """
        number = len(self.seqs)
        self._ascending = self._ascending and (not number or seq > self.seqs[-1])
        self.seqs.append(seq)
        self.ended_seqs.append(NEVER)
        self.ordinals.append(ordinal)
        self.kinds.append(sys.intern(said["kind"]))
        self.names.append(sys.intern(said["name"]))
        self.lanes_of.append(sys.intern(said["lane"]))
        self.effects.append(sys.intern(said["effect"]))
        self.qualities.append(sys.intern(said["quality"]))
        if hashing.is_sha256(signature):
            self._signatures += bytes.fromhex(signature)
        else:
            self._signatures += bytes(_BYTES)
            self._odd[number] = signature
        self._places.append(_NOWHERE)
        self._put_at(said["lane"], ordinal, number)
        self._steps[step_id] = number
        self._open[number] = request
        return number

    def _put_at(self, lane: str, ordinal: int, number: int) -> None:
        numbers = self._lanes.setdefault(sys.intern(lane), array("q"))
        if ordinal > len(numbers) + _FARTHEST:
            self._far.setdefault((lane, ordinal), number)
            return
        while len(numbers) < ordinal:
            numbers.append(self._far.pop((lane, len(numbers) + 1), _NOWHERE))
        if numbers[ordinal - 1] == _NOWHERE:
            # of two calls with one number the first answers; the other is never consumed
            numbers[ordinal - 1] = number

    def keep(self, number: int, fields: list[Any], *, ended_seq: int | None, quality: str) -> None:
        """Put a call aside when all is known of it: the fields of `RecordedCall`, in their order.

        JSON that is written already may stand among them as `msgspec.Raw`.
        """
        self.ended_seqs[number] = ended_seq or NEVER
        self.qualities[number] = sys.intern(quality)
        self._places[number] = self._shelf.put(_encode(fields))
        self._open.pop(number, None)

    def number_of_step(self, step_id: str) -> int | None:
        """Return the number of a call that began, by the id of its step."""
        return self._steps.get(step_id)

    def whole(self, step_id: str, request: dict[str, Any]) -> dict[str, Any]:
        """Return a request with what it shares with an earlier one written out."""
        with self._one:
            self._named.update(sharing.named(request))
            return self._unfolding.whole(step_id, request)

    def close(self) -> None:
        """Forget what only reading needs."""
        self._steps = {step: self._steps[step] for step in self._named if step in self._steps}

    def _as_stored(self, step_id: str) -> dict[str, Any] | None:
        """Return the request of a call as it is written."""
        number = self._steps.get(step_id)
        if number is None:
            return None
        if number in self._open:
            found: dict[str, Any] = msgspec.json.decode(self._open[number])
            return found
        return _decode(self._shelf[self._places[number]]).request
