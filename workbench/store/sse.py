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
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[Block]:
        """Return the blocks that are whole now."""
        # Only what is new is searched: a long block comes in many pieces.
        begin = max(0, len(self._rest) - 1)
        self._rest += data
        end = self._rest.rfind(_END, begin)
        if end < 0:
            return []
        whole = bytes(self._rest[:end])
        del self._rest[: end + len(_END)]
        return [_block(text) for text in whole.split(_END) if text]


def _block(text: bytes) -> Block:
    fields: dict[bytes, list[bytes]] = {}
    for line in text.split(b"\n"):
        name, _, value = line.partition(b":")
        fields.setdefault(name, []).append(value.removeprefix(b" "))

    def said(name: bytes) -> bytes:
        return b"\n".join(fields.get(name, ()))

    return Block(id=said(b"id"), name=said(b"event"), data=said(b"data"), retry=said(b"retry"))
