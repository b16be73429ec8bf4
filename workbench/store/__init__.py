"""Runs, wherever they lie: on a server, in a folder of exported Parquet files, or in a bundle."""

from workbench.store.bundle import BundleStore
from workbench.store.folder import FolderStore
from workbench.store.follow import Following
from workbench.store.protocol import Body, Declared, Receipt, RunWriter, Store
from workbench.store.reading import read
from workbench.store.remote import RemoteStore, connect
from workbench.store.run import Run

__all__ = [
    "Body",
    "BundleStore",
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
