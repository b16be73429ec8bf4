"""Reports: execute a notebook, keep it, and write one page that opens anywhere."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {"run_report": "workbench.report.runner", "Report": "workbench.report.runner"}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'workbench.report' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
