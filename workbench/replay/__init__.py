"""Replaying: an agent's real code, answered from a recording, and how faithful that was.

Every name is loaded when it is first used: the child of an isolated replay needs few of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workbench.replay.bundling import bundle
    from workbench.replay.divergence import Divergence
    from workbench.replay.drifting import drift
    from workbench.replay.result import ReplayResult
    from workbench.replay.verb import replay
    from workbench.replay.verifying import Verified, verify

__all__ = ["Divergence", "ReplayResult", "Verified", "bundle", "drift", "replay", "verify"]

_HOMES = {
    "Divergence": "divergence",
    "ReplayResult": "result",
    "Verified": "verifying",
    "bundle": "bundling",
    "drift": "drifting",
    "replay": "verb",
    "verify": "verifying",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
