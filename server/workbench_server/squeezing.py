"""Payloads and messages as they are stored: zstd frames, one each.

Each thread has a compressor and a decompressor of its own: two threads in one of them bring the
whole process down.
"""

from __future__ import annotations

import threading

import zstandard

_MANY = 16


class _Own(threading.local):
    def __init__(self) -> None:
        self.compressor = zstandard.ZstdCompressor(
            level=1, write_content_size=True, write_checksum=False
        )
        self.decompressor = zstandard.ZstdDecompressor()


_own = _Own()


def squeezed(values: list[bytes]) -> list[bytes]:
    """Compress each by itself; many at once leave other threads alone meanwhile."""
    if len(values) < _MANY:
        return [_own.compressor.compress(value) for value in values]
    pieces = _own.compressor.multi_compress_to_buffer([*values])
    return [pieces[place].tobytes() for place in range(len(pieces))]


def unsqueezed(value: bytes) -> bytes:
    """Return what was compressed."""
    return _own.decompressor.decompress(value)
