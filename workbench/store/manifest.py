"""The manifest of an exported folder: what it is, and the sha-256 of each file."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import msgspec

from workbench.errors import MalformedFile, UnknownFormat

if TYPE_CHECKING:
    import fsspec

FORMAT = "workbench-export"
VERSION = 1
NAME = "manifest.json"
FILES = ("runs.parquet", "events.parquet", "bodies.parquet")
_BLOCK = 1 << 20


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """``files`` is name → hex sha-256, ``runs`` their number."""

    format: str
    version: int
    runs: int
    files: dict[str, str]


def load(files: fsspec.AbstractFileSystem, root: str, *, verify: bool) -> Manifest:
    """Read and check the manifest; with ``verify`` every file is read and hashed.

    Raises
    ------
    UnknownFormat
        The folder is no export, or of a version this one does not know.
    MalformedFile
        The manifest cannot be read, a file is missing, or its bytes are not those exported.
    """
    where = f"{root}/{NAME}"
    try:
        raw = files.cat_file(where)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UnknownFormat(
            "this is not a folder of exported runs",
            where=root,
            expected=f"a folder with {NAME}",
            found=_contents(files, root),
            hint="`workbench export RUN --to DIR` makes one",
        ) from error
    manifest = _parsed(raw, where)
    for name in FILES:
        _check_file(files, root=root, name=name, manifest=manifest, verify=verify)
    return manifest


def sha256_of(files: fsspec.AbstractFileSystem, path: str) -> str:
    """Return the hex sha-256 of a file, read in blocks."""
    hasher = hashlib.sha256()
    with files.open(path, "rb") as stream:
        while block := stream.read(_BLOCK):
            hasher.update(block)
    return hasher.hexdigest()


def _parsed(raw: bytes, where: str) -> Manifest:
    try:
        probe: Any = msgspec.json.decode(raw)
        found = (probe.get("format"), probe.get("version")) if isinstance(probe, dict) else None
        if found != (FORMAT, VERSION):
            raise UnknownFormat(
                "the manifest is of another format or version",
                where=where,
                expected=f"{FORMAT} {VERSION}",
                found=found,
            )
        return msgspec.convert(probe, Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise MalformedFile("the manifest cannot be read", where=where, found=str(error)) from error


def _check_file(
    files: fsspec.AbstractFileSystem, *, root: str, name: str, manifest: Manifest, verify: bool
) -> None:
    path = f"{root}/{name}"
    if name not in manifest.files or not files.exists(path):
        raise MalformedFile("a file of the export is missing", where=path)
    if verify and (found := sha256_of(files, path)) != manifest.files[name]:
        raise MalformedFile(
            "the file's bytes are not those that were exported",
            where=path,
            expected=manifest.files[name],
            found=found,
        )


def _contents(files: fsspec.AbstractFileSystem, root: str) -> str:
    try:
        names = sorted(path.rsplit("/", 1)[-1] for path in files.ls(root, detail=False))
    except (FileNotFoundError, NotADirectoryError):
        return "no folder" if not files.exists(root) else "a file"
    return ", ".join(names[:5]) or "an empty folder"
