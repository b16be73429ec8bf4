"""The object store, as a folder: an object is there whole and for good, or not at all."""

import asyncio
import os
from pathlib import Path
from uuid import UUID

import pytest
from workbench_server.storage import get, open_storage, put

from workbench.errors import Unavailable

WORKSPACE = UUID(int=1)


@pytest.fixture
def storage(tmp_path):
    return open_storage(f"file://{tmp_path}/objects")


@pytest.fixture
def synced(monkeypatch):
    """The files and folders that were written through to the disk, in order."""
    names, fsync = [], os.fsync

    def noted(descriptor):
        names.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    return names


def test_an_object_and_its_name_are_on_the_disk_before_it_is_answered(storage, synced):
    path = storage.path(WORKSPACE, "artifacts", "a")
    asyncio.run(put(storage, path, b"bytes"))
    *made, file, folder = synced
    assert (file.parent, file.name[:3]) == (Path(path).parent, ".a."), "under another name first"
    assert folder == Path(path).parent, "a name lasts when the folder that holds it was written"
    root = Path(storage.root)
    assert set(made) == {root, root / "ws", root / "ws" / str(WORKSPACE)}
    assert asyncio.run(get(storage, path)) == b"bytes"
    assert [one.name for one in Path(path).parent.iterdir()] == ["a"]


def test_an_object_that_cannot_be_written_leaves_nothing(storage, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    path = storage.path(WORKSPACE, "artifacts", "a")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Unavailable, match="No space left"):
        asyncio.run(put(storage, path, b"bytes"))
    assert not [one for one in Path(storage.root).rglob("*") if one.is_file()]
