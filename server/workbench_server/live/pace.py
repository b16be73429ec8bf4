"""How often the live part looks, speaks and waits."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from typing import Any, Self

from workbench.errors import UsageError

_PREFIX = "WORKBENCH_LIVE_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Seconds and counts, each also a variable ``WORKBENCH_LIVE_…`` in capitals.

    A stream that says nothing for `heartbeat_s` sends a heartbeat. The table is looked at each
    `poll_s`, keys each `recheck_s`. A reader that takes nothing for `patience_s` is let go.
    `listen` 0 goes without NOTIFY, for a database behind a pooler of transactions.
    """

    heartbeat_s: float = 10.0
    poll_s: float = 1.0
    recheck_s: float = 5.0
    patience_s: float = 30.0
    listen: int = 1

    @classmethod
    def from_environment(cls) -> Self:
        said: dict[str, Any] = {}
        for field in fields(cls):
            variable = _PREFIX + field.name.upper()
            if text := os.environ.get(variable):
                said[field.name] = _number(text, type(field.default), variable)
        return cls(**said)


def _number(text: str, kind: type[Any], variable: str) -> Any:
    try:
        value = kind(text)
    except ValueError as error:
        raise UsageError(f"{variable} is no number", found=text[:40]) from error
    if not value >= 0:
        raise UsageError(f"{variable} is below zero", found=text[:40])
    return value
