"""Ids of new runs."""

from __future__ import annotations

import os
import time
from uuid import UUID

_RANDOM_BITS = 74


def new_run_id() -> str:
    """Return a UUIDv7: ids of later runs sort later."""
    millis = time.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10), "big") & ((1 << _RANDOM_BITS) - 1)
    high, low = random >> 62, random & ((1 << 62) - 1)
    return str(UUID(int=(millis << 80) | (7 << 76) | (high << 64) | (2 << 62) | low))
