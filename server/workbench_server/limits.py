"""How much one request may bring, and what reads it no further than that."""

from __future__ import annotations

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
BODY_BYTES = DEFAULT.body_bytes
ARTIFACT_BYTES = DEFAULT.artifact_bytes
BATCH_EVENTS = DEFAULT.batch_events
NESTING = DEFAULT.nesting

_NOT_BRACKETS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[^\[\]{}"]+', re.DOTALL)
_PAIR = re.compile(rb"\{\}|\[\]")


async def read_body(request: Request, *, most: int = BODY_BYTES) -> bytes:
    """Return the request's body, decompressed, refusing one byte more than `most`."""
    raw = bytearray()
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > most:
            raise _too_large(most)
    return decompressed(bytes(raw), request.headers.get("content-encoding", ""), most=most)


def decompressed(raw: bytes, encoding: str, *, most: int = BODY_BYTES) -> bytes:
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
                "the content encoding is not known", expected="gzip or zstd", found=other[:40]
            )


def _gunzipped(raw: bytes, most: int) -> bytes:
    reader = zlib.decompressobj(wbits=31)
    try:
        data = reader.decompress(raw, most + 1)
    except zlib.error as error:
        raise UsageError("the body is not gzip", found=str(error)) from error
    if len(data) > most:
        raise _too_large(most)
    if not reader.eof or reader.unused_data:
        raise UsageError("the gzip body is cut off or has something behind it")
    return data


def _unzstd(raw: bytes, most: int) -> bytes:
    reader = zstandard.ZstdDecompressor(max_window_size=2**27).decompressobj()
    try:
        data = reader.decompress(raw) if _fits(raw, most) else b""
    except zstandard.ZstdError as error:
        raise UsageError("the body is not zstd", found=str(error)) from error
    if not reader.eof or reader.unused_data:
        raise UsageError("the zstd body is cut off or has something behind it")
    return data


def _fits(raw: bytes, most: int) -> bool:
    read = 0
    with zstandard.ZstdDecompressor(max_window_size=2**27).stream_reader(raw) as stream:
        while chunk := stream.read(2**20):
            read += len(chunk)
            if read > most:
                raise _too_large(most)
    return True


def _too_large(most: int) -> LimitExceeded:
    return LimitExceeded(
        "the body is too large", expected=f"at most {most} bytes", hint="Send smaller batches."
    )


def check_nesting(raw: bytes, *, where: str) -> None:
    """Refuse JSON nested deeper than `NESTING`; the brackets are counted before they are paired."""
    if raw.count(b"{") + raw.count(b"[") <= NESTING:
        return
    brackets = _NOT_BRACKETS.sub(b"", raw)
    for _ in range(NESTING):
        brackets = _PAIR.sub(b"", brackets)
        if not brackets:
            return
    raise LimitExceeded(
        "the JSON is nested too deep", where=where, expected=f"at most {NESTING} levels"
    )


def check_text(text: str, *, where: str, most: int) -> None:
    """Refuse what a text column or its index cannot hold."""
    if "\0" in text:
        raise InvalidEvent("a text has a NUL character", where=where)
    if len(text) * 4 > most and len(text.encode()) > most:
        raise LimitExceeded("a text is too long", where=where, expected=f"at most {most} bytes")
