"""Replaying: an agent's real code, answered from a recording, and how faithful that was.

Every name is loaded when it is first used: the child of an isolated replay needs few of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workbench.replay.divergence import Divergence
    from workbench.replay.result import ReplayResult
    from workbench.replay.verb import replay

__all__ = ["Divergence", "ReplayResult", "replay"]

_HOMES = {"Divergence": "divergence", "ReplayResult": "result", "replay": "verb"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
