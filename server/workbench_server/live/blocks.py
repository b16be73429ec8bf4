"""The text of a stream: one block per event, and what the stream says of itself.

A block with ``id`` is an event of the run, named by its type; a block without is the stream's own.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from workbench.schema import now
from workbench_server.live.table import PAGE_BYTES
from workbench_server.squeezing import unsqueezed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workbench.errors import WorkbenchError
    from workbench_server.live.table import Rows, State

_SEND_BYTES = 2**16
_SOONEST_MS, _LATEST_MS = 200, 1_000
_encoder = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The blocks of consecutive events, from `first` on."""

    first: int
    blocks: list[bytes] = field(repr=False)

    @property
    def last(self) -> int:
        return self.first + len(self.blocks) - 1

    def after(self, seq: int) -> Page | None:
        """Return what follows `seq`, or nothing where this page does not hold the next event."""
        if not self.first <= seq + 1 <= self.last:
            return None
        return Page(first=seq + 1, blocks=self.blocks[seq + 1 - self.first :])

    def pieces(self) -> Iterator[tuple[bytes, int]]:
        """Yield bytes to send, none much larger than a connection's buffer, and their last seq."""
        kept: list[bytes] = []
        size = 0
        for seq, block in enumerate(self.blocks, self.first):
            kept.append(block)
            size += len(block)
            if size >= _SEND_BYTES or seq == self.last:
                yield b"".join(kept), seq
                kept, size = [], 0


def page_of(rows: Rows, *, after: int) -> Page:
    """Write events, and stop where what is unpacked would be too much for one page."""
    blocks: list[bytes] = []
    size = 0
    for row in rows:
        if size > PAGE_BYTES:
            break
        blocks.append(_event_block(row))
        size += len(blocks[-1])
    return Page(first=after + 1, blocks=blocks)


def _event_block(row: dict[str, Any]) -> bytes:
    said = {name: value for name, value in row.items() if value is not None}
    said["payload"] = msgspec.Raw(unsqueezed(row["payload"]))
    text = _encoder.encode(said)
    if b"\n" in text or b"\r" in text:
        # Between two tokens of a payload that its writer sealed so; a line is one `data:`.
        text = b"\ndata: ".join(text.splitlines())
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (row["seq"], row["event_type"].encode(), text)


def opening(state: State) -> bytes:
    """Begin: how soon to come back after a broken connection, and how far the run is."""
    return b"retry: %d\n" % _soon() + heartbeat(state)


def heartbeat(state: State) -> bytes:
    """Say that the stream lives, and how the run does."""
    return _own(b"heartbeat", _facts(state) | {"time": now()})


def end(state: State) -> bytes:
    """Say that the run has ended and nothing is missing: do not come back."""
    return _own(b"end", _facts(state))


def slow(seq: int) -> bytes:
    """Say that the reader fell behind and is let go; it may go on after `seq`."""
    return _own(b"slow", {"last_seq": seq})


def shutdown(seq: int) -> bytes:
    """Say that this server stops; another, or the next, goes on after `seq`."""
    return b"retry: %d\n" % _soon() + _own(b"shutdown", {"last_seq": seq})


def problem(error: WorkbenchError) -> bytes:
    """Say why the stream breaks off."""
    return _own(b"problem", error.as_problem())


def _facts(state: State) -> dict[str, Any]:
    return {"status": state.status, "health": state.health, "last_seq": state.last_seq}


def _own(name: bytes, facts: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name, msgspec.json.encode(facts, enc_hook=str))


def _soon() -> int:
    """Not all at once: a thousand readers that lost a server come back spread out."""
    return random.randint(_SOONEST_MS, _LATEST_MS)
