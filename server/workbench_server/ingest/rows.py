"""Write events as the rows that one statement inserts."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workbench_server.ingest.checking import Checked


def rows_of(events: Sequence[Checked], *, place: int, at: int = 0) -> bytes:
    """Return the envelopes as the items of a JSON list.

    Each says its batch's place ``b``, its own place ``k`` in it, and where its payload begins and
    how long it is: bytes in JSON would have to be written as hex and read back.
    """
    rows = []
    for k, one in enumerate(events):
        size = len(one.payload)
        rows.append(
            b'%b,"digest":"%b","b":%d,"k":%d,"at":%d,"size":%d}'
            % (one.envelope[:-1], one.digest, place, k, at, size)
        )
        at += size
    return b",".join(rows)
