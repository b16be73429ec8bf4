"""What a certificate says of a run that is not to be replayed now, read at half the cost."""

from __future__ import annotations

from array import array
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import polars as pl
from msgspec import Raw, Struct

from workbench import hashing
from workbench.frames.recorded import are_sealed, counted
from workbench.recording import LogRoot

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    Rows = Iterator[tuple[Any, ...]]

_BYTES = 32
_NULL = Raw(b"null")
_SAID = ("event_type", "step_id", "lane", "ordinal", "seq", "signature", "status", "payload")
_TYPES = ("call_started", "call_ended", "chunk")


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """The fields are those of `workbench.recording.Recording` with these names.

    Of ``bodies`` only the digests are known.
    """

    events: int
    first_seq: int | None
    last_seq: int | None
    writers: dict[str, int]
    bodies: Iterable[str]
    log_root: str
    content_root: str


def written(pages: Iterable[pl.DataFrame], bodies: Iterable[str]) -> Written | None:
    """Return what stands in a log that comes in pieces, by ``seq``, and names these messages.

    None where it is not as one recorder writes it (something comes twice, in another order, or
    unsigned): then only who reads it as a recording can say.
    """
    log, calls = LogRoot(), _Calls()
    events, first, last = 0, None, None
    for page in pages:
        if not are_sealed(page):
            return None
        events += page.height
        first = page["seq"].min() if first is None else first
        last = page["seq"].max()
        for writer, _, numbers, digests in counted(page):
            log.add_all(writer, numbers, digests)
        said = page.filter(pl.col("event_type").is_in(_TYPES))
        if not calls.take(zip(*(said[name].to_list() for name in _SAID), strict=True)):
            return None
    return Written(
        events=events,
        first_seq=first,  # type: ignore[arg-type] # of a column of integers
        last_seq=last,  # type: ignore[arg-type]
        writers=log.last_numbers,
        bodies=list(bodies),
        log_root=log.root,
        content_root=calls.root(),
    )


class _Came(Struct):
    outcome: Raw = _NULL
    exception: Raw = _NULL


class _Chunk(Struct):
    index: int
    pieces: list[Any] = []


_came = msgspec.json.Decoder(_Came).decode
_chunk = msgspec.json.Decoder(_Chunk).decode


class _Calls:
    """Signatures and hashes of what came of calls, by lane: 64 bytes of each."""

    def __init__(self) -> None:
        self._open: dict[str, _Began] = {}
        self._pieces: dict[str, list[tuple[int, list[Any]]]] = defaultdict(list)
        self._steps: set[int] = set()
        self._lanes: dict[str, _Lane] = defaultdict(_Lane)

    def take(self, rows: Rows) -> bool:
        """Take the next events; say whether they are as they should be."""
        for event_type, step_id, lane, ordinal, seq, signature, status, payload in rows:
            if event_type == "call_started":
                step = hash(step_id)
                if step_id is None or step in self._steps or not hashing.is_sha256(signature or ""):
                    return False
                self._steps.add(step)
                self._open[step_id] = _Began(lane or "root", ordinal or 1, seq, signature)
            elif event_type == "call_ended":
                began = self._open.pop(step_id, None)
                if began is None or not self._end(step_id, began, status, payload):
                    return False
            elif step_id in self._open:
                chunk = _chunk(payload)
                self._pieces[step_id].append((chunk.index, chunk.pieces))
            elif step_id is not None:
                return False
        return True

    def _end(self, step_id: str, began: _Began, status: str | None, payload: str) -> bool:
        try:
            came = _came(payload)
            said = [msgspec.json.decode(one) for one in (came.outcome, came.exception)]
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return False
        if not all(one is None or type(one) is dict for one in said):
            return False
        self._put(step_id, began, status or "running", *said)
        return True

    def _put(
        self,
        step_id: str,
        began: _Began,
        status: str,
        outcome: dict[str, Any] | None,
        exception: dict[str, Any] | None,
    ) -> None:
        chunks = sorted(self._pieces.pop(step_id, ()), key=lambda chunk: chunk[0])
        pieces = [one for _, several in chunks for one in several] if chunks else None
        came = hashing.outcome_hash(
            status=status, outcome=outcome, exception=exception, pieces=pieces
        )
        self._lanes[began.lane].add(began, came)

    def root(self) -> str:
        """Return the root over all calls; those that are still open never came back."""
        for step_id, began in self._open.items():
            self._put(step_id, began, "running", None, None)
        return hashing.content_root({lane: one.pairs() for lane, one in self._lanes.items()})


class _Began(NamedTuple):
    lane: str
    ordinal: int
    seq: int
    signature: str


class _Lane:
    """The calls of a lane in the order they ended."""

    def __init__(self) -> None:
        self._ordinals, self._seqs = array("q"), array("q")
        self._hashes = bytearray()

    def add(self, began: _Began, came: str) -> None:
        self._ordinals.append(began.ordinal)
        self._seqs.append(began.seq)
        self._hashes += bytes.fromhex(began.signature + came)

    def pairs(self) -> Iterator[tuple[str, str]]:
        """Give signature and hash of each call, in order of the ordinals."""
        order = sorted(range(len(self._seqs)), key=lambda n: (self._ordinals[n], self._seqs[n]))
        for begin in (number * 2 * _BYTES for number in order):
            pair = self._hashes[begin : begin + 2 * _BYTES].hex()
            yield pair[: 2 * _BYTES], pair[2 * _BYTES :]
