"""Server-sent events out of bytes, however they were cut on the way. Pure."""

from __future__ import annotations

from dataclasses import dataclass

_END = b"\n\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One block of a stream: ``id`` and ``name`` are empty where the block has none."""

    id: bytes = b""
    name: bytes = b""
    data: bytes = b""
    retry: bytes = b""


class Blocks:
    """Collects bytes until blocks are whole."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Block]:
        """Return the blocks that are whole now."""
        *whole, self._rest = (self._rest + data).split(_END)
        return [_block(text) for text in whole if text]


def _block(text: bytes) -> Block:
    fields: dict[bytes, list[bytes]] = {}
    for line in text.split(b"\n"):
        name, _, value = line.partition(b":")
        fields.setdefault(name, []).append(value.removeprefix(b" "))

    def said(name: bytes) -> bytes:
        return b"\n".join(fields.get(name, ()))

    return Block(id=said(b"id"), name=said(b"event"), data=said(b"data"), retry=said(b"retry"))
