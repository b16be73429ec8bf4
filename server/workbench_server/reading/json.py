"""Rows as JSON, written piece by piece."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import zstandard

from workbench_server.reading.pages import body_pages, event_pages

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from workbench_server.reading.pages import Wanted

_encoder = msgspec.json.Encoder()
_decompressor = zstandard.ZstdDecompressor()


async def events(wanted: Wanted, *, after: int) -> AsyncIterator[bytes]:
    """Yield ``{"events": […]}``."""
    begun = False
    yield b'{"events":['
    async for rows in event_pages(wanted, after=after):
        text = b",".join(_encoder.encode(_event(row)) for row in rows)
        yield b"," + text if begun else text
        begun = True
    yield b"]}"


def _event(row: dict[str, Any]) -> dict[str, Any]:
    """Return the event as it was sent: what was not said is left out."""
    said = {name: value for name, value in row.items() if value is not None}
    if "payload" in said:
        said["payload"] = msgspec.Raw(_decompressor.decompress(said["payload"]))
    return said


async def bodies(wanted: Wanted) -> AsyncIterator[bytes]:
    """Yield ``{digest: message}``."""
    begun = False
    yield b"{"
    async for rows in body_pages(wanted):
        text = b",".join(
            b'"%b":%b' % (row["digest"].encode(), _decompressor.decompress(row["body"]))
            for row in rows
        )
        yield b"," + text if begun else text
        begun = True
    yield b"}"
