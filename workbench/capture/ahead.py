"""LangGraph, loaded before anything else asks for it and with Python's collector at rest.

It is many objects and hardly any of them garbage: collecting while they are loaded is a fifth of
the time, and what had not been walked then would be in the middle of an agent's first calls, all of
it at once.
"""

from __future__ import annotations

import gc
import sys
from importlib import import_module

_MODULES = (
    "langchain_core.language_models",
    "langchain_core.retrievers",
    "langchain_core.tools",
    "langgraph.pregel",
)


def _load() -> None:
    if "langgraph.pregel" in sys.modules:
        return
    collects = gc.isenabled()
    gc.disable()
    try:
        for module in _MODULES:
            import_module(module)
    finally:
        if collects:
            gc.enable()
            gc.collect()


_load()
