"""Write accepted events as the rows that one statement inserts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from workbench.schema import EMPTY

if TYPE_CHECKING:
    from workbench_server.ingest.checking import Checked

_encoder = msgspec.json.Encoder()


def rows_of(accepted: list[Checked], *, first_seq: int) -> tuple[str, bytes]:
    """Return the envelopes as a JSON list, and all payloads as one string of bytes.

    Each row says where its payload begins and how long it is: bytes in JSON would have to be
    written as hex and read back.
    """
    rows, at = [], 0
    for seq, one in enumerate(accepted, first_seq):
        envelope = _encoder.encode(msgspec.structs.replace(one.event, payload=EMPTY, seq=seq))
        size = len(one.payload)
        rows.append(b'%b,"at":%d,"size":%d}' % (envelope[:-1], at, size))
        at += size
    return (b"[" + b",".join(rows) + b"]").decode(), b"".join(one.payload for one in accepted)
