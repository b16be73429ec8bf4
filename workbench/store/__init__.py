"""Runs, wherever they lie: on a server, or in a folder of exported Parquet files."""

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
