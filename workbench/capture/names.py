"""What a recorded name stands for: a class or function by ``module:qualified name``."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def found(path: str) -> Any:
    """Return what can be imported under a name, or None."""
    module, _, name = path.partition(":")
    try:
        one: Any = import_module(module)
        for part in name.split("."):
            one = getattr(one, part)
    except Exception:  # noqa: BLE001 - a name that was made up, or a module that does not import
        return None
    return one
