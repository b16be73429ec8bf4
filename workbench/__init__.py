"""Record, look, fork, replay, compare and report runs of AI agents.

``import workbench as wb``; every public name is loaded when it is first used.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "open": "workbench.local",
    "record": "workbench.capture",
    "Rule": "workbench.redaction",
    "replay": "workbench.replay",
    "verify": "workbench.replay",
    "fork": "workbench.fork",
    "diff": "workbench.diff",
    "timeline": "workbench.widgets",
    "tool_effects": "workbench.capture",
    "call": "workbench.capture",
    "root": "workbench.capture",
    "context": "workbench.capture",
    "join": "workbench.local",
    "step": "workbench.capture",
    "model": "workbench.capture",
    "tool": "workbench.capture",
    "retriever": "workbench.capture",
    "planner": "workbench.capture",
    "validator": "workbench.capture",
    "safety": "workbench.capture",
    "clock": "workbench.capture",
    "random": "workbench.capture",
    "uuid4": "workbench.capture",
    "env": "workbench.capture",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'workbench' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


class _Package(ModuleType):
    """Keeps ``wb.diff`` the function also after the package ``workbench.diff`` was imported."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in _HOMES or not isinstance(value, ModuleType):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
