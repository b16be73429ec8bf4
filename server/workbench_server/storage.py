"""The object store: a folder or an S3 bucket, behind one interface."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import fsspec

from workbench.errors import ArtifactNotFound, Unavailable

Failures = tuple[type[Exception], ...]


def _failures(url: str) -> Failures:
    """Return what an unreachable store raises; a folder does not load the S3 packages."""
    if not url.startswith("s3"):
        return (OSError,)
    from botocore.exceptions import BotoCoreError, ClientError

    return (OSError, BotoCoreError, ClientError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """Blocking calls on one file system; `root` has no slash at its end."""

    files: Any
    root: str
    failures: Failures

    def path(self, workspace_id: UUID, *parts: str) -> str:
        """Return the address of a workspace's object."""
        return "/".join((self.root, "ws", str(workspace_id), *parts))

    @property
    def is_folder(self) -> bool:
        return "file" in self.files.protocol

    def url(self, path: str) -> str:
        """Return a path with its scheme, as the lake's readers want it."""
        return f"file://{path}" if self.is_folder else f"s3://{path}"


def open_storage(url: str) -> Storage:
    """Open a folder (made where it is missing) or ``s3://bucket/prefix``; it has to answer."""
    failures: Failures = (*_failures(url), ValueError, ImportError)
    try:
        files, root = fsspec.url_to_fs(url, use_listings_cache=False)
        storage = Storage(files=files, root=root.rstrip("/"), failures=_failures(url))
        if storage.is_folder:
            Path(root).mkdir(mode=0o700, parents=True, exist_ok=True)
        answers = _answers(storage)
    except failures as error:
        raise Unavailable(
            "the object store cannot be opened",
            where=url,
            found=str(error)[:500],
            hint="Check WORKBENCH_STORAGE_URL and the AWS_* variables.",
        ) from error
    if not answers:
        raise Unavailable(
            "the object store has no such bucket", where=url, hint="Make the bucket first."
        )
    return storage


async def is_reachable(storage: Storage) -> bool:
    """Say whether the root answers."""
    try:
        return bool(await asyncio.to_thread(_answers, storage))
    except storage.failures:
        return False


def _answers(storage: Storage) -> bool:
    if storage.is_folder:
        return bool(storage.files.isdir(storage.root))
    bucket, _, _ = storage.root.partition("/")
    try:  # `exists` would take an endpoint that is away for a bucket that is not there
        storage.files.ls(bucket, detail=False)
    except FileNotFoundError:
        return False
    return True


async def put(storage: Storage, path: str, data: bytes) -> None:
    """Write an object whole or not at all; it is durable when this returns."""
    try:
        await asyncio.to_thread(_put, storage, path, data)
    except storage.failures as error:
        raise _unavailable(storage, error) from error


def _put(storage: Storage, path: str, data: bytes) -> None:
    if not storage.is_folder:
        storage.files.pipe_file(path, data)
        return
    target = Path(path)
    _make_folder(target.parent)
    part = target.with_name(f".{target.name}.{uuid4().hex}")
    try:
        with part.open("xb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    _sync(target.parent)


def _make_folder(folder: Path) -> None:
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for one in missing:
        _sync(one.parent)


def _sync(folder: Path) -> None:
    """Write a folder's names through: a loss of power forgets what only the memory knows."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


async def get(storage: Storage, path: str) -> bytes:
    """Read an object."""
    try:
        data = await asyncio.to_thread(storage.files.cat_file, path)
    except FileNotFoundError as error:
        raise ArtifactNotFound("the object store lacks this object") from error
    except storage.failures as error:
        raise _unavailable(storage, error) from error
    return bytes(data)


def _unavailable(storage: Storage, error: Exception) -> Unavailable:
    return Unavailable(
        "the object store cannot be reached",
        where=storage.root,
        found=str(error)[:500],
        hint="Check WORKBENCH_STORAGE_URL and the AWS_* variables.",
    )
