"""The local stack: a real Postgres, the server and a worker under one supervisor.

`open` is the way to every store; it finds or starts the stack only where one is wanted. `up`,
`down`, `status` and `doctor` are what the command line uses.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workbench.local.client import Lease, lease, status
    from workbench.local.diagnosis import Finding, doctor
    from workbench.local.home import Home, home_at
    from workbench.local.joining import join
    from workbench.local.opening import open  # noqa: A004 - `wb.open` is the public name
    from workbench.local.running import down, foreground, up

_HOMES = {
    "Finding": "diagnosis",
    "Home": "home",
    "Lease": "client",
    "doctor": "diagnosis",
    "down": "running",
    "foreground": "running",
    "home_at": "home",
    "join": "joining",
    "lease": "client",
    "open": "opening",
    "status": "client",
    "up": "running",
}

__all__ = [
    "Finding",
    "Home",
    "Lease",
    "doctor",
    "down",
    "foreground",
    "home_at",
    "join",
    "lease",
    "open",
    "status",
    "up",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'workbench.local' has no attribute {name!r}")
    return getattr(import_module(f"workbench.local.{_HOMES[name]}"), name)
