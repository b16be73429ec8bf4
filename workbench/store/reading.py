"""One way to open runs that lie in files: a folder of them, or a bundle."""

from __future__ import annotations

from pathlib import Path

from workbench.store.bundle import BundleStore
from workbench.store.folder import FolderStore


def read(target: str | Path, *, verify: bool = False) -> FolderStore:
    """Open a folder of exported runs, or a bundle.

    Parameters
    ----------
    target
        A folder, ``s3://bucket/prefix`` (with the ``AWS_*`` variables), or a bundle's file.
    verify
        Hash every file and compare with the manifest; of a bundle all are hashed anyway.

    Raises
    ------
    UnknownFormat
        It is no export and no bundle.
    MalformedFile
        A file is missing, broken, or not the one that was exported.
    Unavailable
        The object store cannot be reached.
    """
    address = str(target)
    if Path(address).is_file():
        return BundleStore(address)
    return FolderStore(address, verify=verify)
