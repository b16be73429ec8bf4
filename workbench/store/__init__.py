"""Runs, wherever they lie: on a server, or in a folder of exported Parquet files.

Every name is loaded when it is first used: what only writes needs neither Parquet nor HTTP.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workbench.store.folder import FolderStore, read
    from workbench.store.follow import Following
    from workbench.store.protocol import Body, Declared, Receipt, RunWriter, Store
    from workbench.store.remote import RemoteStore, connect
    from workbench.store.run import Run

__all__ = [
    "Body",
    "Declared",
    "FolderStore",
    "Following",
    "Receipt",
    "RemoteStore",
    "Run",
    "RunWriter",
    "Store",
    "connect",
    "read",
]

_HOMES = {
    **dict.fromkeys(("FolderStore", "read"), "folder"),
    **dict.fromkeys(("Body", "Declared", "Receipt", "RunWriter", "Store"), "protocol"),
    **dict.fromkeys(("RemoteStore", "connect"), "remote"),
    "Following": "follow",
    "Run": "run",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
