"""How much one request may bring, and what reads it no further than that."""

from __future__ import annotations

import asyncio
import re
import zlib
from typing import TYPE_CHECKING

import msgspec
import zstandard

from workbench.errors import InvalidEvent, LimitExceeded, UsageError

if TYPE_CHECKING:
    from fastapi import Request


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one workspace may ask for; a workspace that says nothing has these defaults.

    The rates hold in each process by itself: two replicas let twice as much through.
    """

    body_bytes: int = 32 * 2**20
    unpacked_bytes: int = 32 * 2**20
    artifact_bytes: int = 256 * 2**20
    batch_events: int = 10_000
    nesting: int = 64
    requests_per_s: int = 10_000
    events_per_s: int = 250_000
    bytes_per_s: int = 2**30
    streams: int = 500


DEFAULT = Limits()
# Whatever is asked for: no less than lets an admin mend it, no more than one process can bear.
RANGES: dict[str, tuple[int, int]] = {
    "body_bytes": (2**10, 2**28),
    "unpacked_bytes": (2**10, 2**28),
    "artifact_bytes": (2**10, 2**30),
    "batch_events": (1, 100_000),
    "nesting": (4, 200),
    "requests_per_s": (1, 1_000_000),
    "events_per_s": (1, 10_000_000),
    "bytes_per_s": (2**10, 2**40),
    "streams": (0, 100_000),
}
BATCH_EVENTS = DEFAULT.batch_events
NESTING = DEFAULT.nesting

_PACKING = "Pack the whole body once, with gzip or zstd, or leave Content-Encoding out."
_SHORT = 2**20  # bytes: what is unpacked within a few milliseconds
_GZIP_AT_MOST = 1032  # bytes that one byte of gzip can become
_NOT_BRACKETS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[^\[\]{}"]+', re.DOTALL)
_PAIR = re.compile(rb"\{\}|\[\]")


async def read_body(request: Request, *, most: int | None = None) -> bytes:
    """Return the request's body, decompressed, refusing one byte more than its limit.

    The limits are those of the caller's workspace, or `most` before and after decompression.
    """
    limits = limits_of(request)
    most_raw = limits.body_bytes if most is None else most
    most_unpacked = limits.unpacked_bytes if most is None else most
    _check_announced(request, most_raw)
    raw = bytearray()
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > most_raw:
            raise _too_large(most_raw)
    encoding = request.headers.get("content-encoding", "")
    if _is_short(raw, encoding):
        return decompressed(bytes(raw), encoding, most=most_unpacked)
    return await asyncio.to_thread(decompressed, bytes(raw), encoding, most=most_unpacked)


def limits_of(request: Request) -> Limits:
    """Return the limits of the workspace whose key the request brought."""
    limits: Limits = getattr(request.state, "limits", DEFAULT)
    return limits


def _check_announced(request: Request, most: int) -> None:
    """Refuse a body by what is said of its size, before any of it is read."""
    said = request.headers.get("content-length", "")
    if said.isdecimal() and int(said) > most:
        raise _too_large(most, found=int(said))


def _is_short(raw: bytearray, encoding: str) -> bool:
    """Say whether a body is unpacked so soon that nobody waits for it."""
    match encoding.strip().lower():
        case "gzip":
            return len(raw) * _GZIP_AT_MOST <= _SHORT
        case "zstd":
            return 0 <= _said_size(raw) <= _SHORT
        case _:
            return True


def _said_size(raw: bytearray) -> int:
    """Return what a zstd body says of its size, which it is held to; -1 where it says nothing."""
    try:
        return zstandard.frame_content_size(raw)
    except zstandard.ZstdError:
        return 0  # it is refused by its first bytes


def decompressed(raw: bytes, encoding: str, *, most: int = DEFAULT.unpacked_bytes) -> bytes:
    """Undo a content encoding; a bomb is refused before it is unpacked."""
    match encoding.strip().lower():
        case "" | "identity":
            return raw
        case "gzip":
            return _gunzipped(raw, most)
        case "zstd":
            return _unzstd(raw, most)
        case other:
            raise UsageError(
                "the content encoding is not known",
                expected="gzip or zstd",
                found=other[:40],
                hint=_PACKING,
            )


def _gunzipped(raw: bytes, most: int) -> bytes:
    reader = zlib.decompressobj(wbits=31)
    try:
        data = reader.decompress(raw, most + 1)
    except zlib.error as error:
        raise UsageError("the body is not gzip", found=str(error), hint=_PACKING) from error
    if len(data) > most:
        raise _too_large(most)
    if not reader.eof or reader.unused_data:
        raise UsageError("the gzip body is cut off or has something behind it", hint=_PACKING)
    return data


def _unzstd(raw: bytes, most: int) -> bytes:
    reader = zstandard.ZstdDecompressor(max_window_size=2**27).decompressobj()
    try:
        data = reader.decompress(raw) if _fits(raw, most) else b""
    except zstandard.ZstdError as error:
        raise UsageError("the body is not zstd", found=str(error), hint=_PACKING) from error
    if not reader.eof or reader.unused_data:
        raise UsageError("the zstd body is cut off or has something behind it", hint=_PACKING)
    return data


def _fits(raw: bytes, most: int) -> bool:
    read = 0
    with zstandard.ZstdDecompressor(max_window_size=2**27).stream_reader(raw) as stream:
        while chunk := stream.read(2**20):
            read += len(chunk)
            if read > most:
                raise _too_large(most)
    return True


def _too_large(most: int, *, found: int | None = None) -> LimitExceeded:
    return LimitExceeded(
        "the body is too large",
        expected=f"at most {most} bytes",
        found=f"more than {most} bytes" if found is None else f"{found} bytes",
        hint="Send smaller batches.",
    )


def check_nesting(raw: bytes, *, where: str, most: int = NESTING) -> None:
    """Refuse JSON nested deeper than that; the brackets are counted before they are paired."""
    if raw.count(b"{") + raw.count(b"[") <= most:
        return
    brackets = _NOT_BRACKETS.sub(b"", raw)
    for _ in range(most):
        brackets = _PAIR.sub(b"", brackets)
        if not brackets:
            return
    raise LimitExceeded(
        "the JSON is nested too deep", where=where, expected=f"at most {most} levels"
    )


def check_text(text: str, *, where: str, most: int) -> None:
    """Refuse what a text column or its index cannot hold."""
    if "\0" in text:
        raise InvalidEvent("a text has a NUL character", where=where)
    if len(text) * 4 > most and len(text.encode()) > most:
        raise LimitExceeded("a text is too long", where=where, expected=f"at most {most} bytes")
