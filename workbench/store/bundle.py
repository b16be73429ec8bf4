"""A bundle: a run, its artifacts, its certificate and its agent's name as one file.

It is a zip of stored entries: the four files of an export, ``certificate.json``, ``agent.json``,
``artifacts/SHA256`` each, and ``bundle.json``, which names the run and the sha-256 of all of them.
Equal runs give equal bytes.
"""

from __future__ import annotations

import hashlib
import shutil
import struct
import tempfile
import weakref
import zipfile
import zlib
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import msgspec
import polars as pl
import pyarrow.parquet as pq
import rfc8785

from workbench import hashing
from workbench.errors import ArtifactNotFound, Conflict, MalformedFile, UnknownFormat, UsageError
from workbench.store import manifest
from workbench.store.export import export
from workbench.store.folder import CERTIFICATE, FolderStore
from workbench.store.foreign import reading

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator

    from workbench.store.protocol import ArtifactFilter
    from workbench.store.run import Run

FORMAT, VERSION = "workbench-bundle", 1
INDEX, AGENT = "bundle.json", "agent.json"
MOST_BYTES = 8 * 2**30
"""How much a file of a bundle may come to when it is read."""

_PARTS = frozenset((manifest.NAME, *manifest.FILES, CERTIFICATE, AGENT))
_ARTIFACTS = "artifacts/"
_MAGIC = b"PK"
_LARGEST_INDEX = 2**24
_BLOCK = 2**20
_BROKEN = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, OverflowError,
    NotImplementedError, RuntimeError,
)  # fmt: skip


class Index(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``files`` is name → hex sha-256 of every other entry; ``run_id`` the run it is about."""

    format: str
    version: int
    run_id: str
    files: dict[str, str]


# ---- writing


def write(
    run: Run,
    path: str | os.PathLike[str],
    *,
    certificate: bytes,
    agent: dict[str, Any],
    beside: Iterable[Run] = (),
    overwrite: bool = False,
) -> Path:
    """Write a run as one file.

    Parameters
    ----------
    run, beside
        The run, and others to take along: the source of a replay.
    path
        A file that does not exist yet; with ``overwrite`` also an earlier bundle.
    certificate, agent
        The bytes of its certificate, and what its agent is: entry point and distributions.

    Raises
    ------
    Conflict
        There is a file already.
    """
    target = Path(path).absolute()
    _refuse_existing(target, overwrite=overwrite)
    target.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        folder = export([run, *beside], building / "parts")
        (folder / CERTIFICATE).write_bytes(certificate)
        (folder / AGENT).write_bytes(rfc8785.dumps(agent))
        for one in (run, *beside):
            _write_artifacts(one, folder)
        _write_index(folder, run_id=run.run_id)
        made = building / "bundle"
        names = sorted(path.relative_to(folder).as_posix() for path in _files(folder))
        _zip(made, [(name, folder / name) for name in names])
        made.replace(target)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return target


def _refuse_existing(target: Path, *, overwrite: bool) -> None:
    if target.is_dir() or (target.exists() and not (overwrite and zipfile.is_zipfile(target))):
        raise Conflict(
            "there is something of this name already",
            where=str(target),
            hint="--overwrite (overwrite=True) replaces an earlier bundle",
        )


def _write_artifacts(run: Run, folder: Path) -> None:
    """Write what the run made, as far as its bytes are in the store."""
    for sha256 in sorted(made_by(run)):
        try:
            data = run.store.get_artifact(sha256)
        except ArtifactNotFound:
            continue
        (folder / _ARTIFACTS).mkdir(exist_ok=True)
        (folder / _ARTIFACTS / sha256).write_bytes(data)


def made_by(run: Run) -> set[str]:
    """Return the sha-256 of each artifact that a run's log names."""
    named = run.events.filter(pl.col("event_type") == "artifact_created")["payload"]
    return {
        sha256
        for text in named
        if hashing.is_sha256(sha256 := str(msgspec.json.decode(text).get("sha256")))
    }


def _write_index(folder: Path, *, run_id: str) -> None:
    said: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "run_id": run_id,
        "files": {path.relative_to(folder).as_posix(): _sha256(path) for path in _files(folder)},
    }
    (folder / INDEX).write_bytes(rfc8785.dumps(said))


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _zip(target: Path, parts: list[tuple[str, Path]]) -> None:
    """Write entries so that equal ones give equal bytes: stored, in order, without a time."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as made:
        for name, path in parts:
            entry = zipfile.ZipInfo(name)
            entry.create_system, entry.external_attr = 3, 0o644 << 16
            entry.file_size = path.stat().st_size
            with path.open("rb") as came, made.open(entry, "w") as out:
                shutil.copyfileobj(came, out, _BLOCK)


# ---- reading


def read(path: str | os.PathLike[str]) -> BundleStore:
    """Open a bundle; every file in it is hashed.

    Raises
    ------
    UnknownFormat
        It is no bundle, or of a version this one does not know.
    MalformedFile
        It is broken, or holds what no bundle does.
    """
    return BundleStore(path)


class BundleStore(FolderStore):
    """See `read`. It is unpacked into a folder of its own, which goes when it is closed."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        folder = tempfile.mkdtemp(prefix="workbench-bundle-")
        self._gone = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self.folder = Path(folder)
        try:
            self.index = _unpack(Path(path), self.folder)
            super().__init__(folder, verify=True)
            self.address = str(path)
            self.main = self._main()
        except BaseException:
            self._gone()
            raise

    def _main(self) -> Run:
        """Return the run that the bundle is about."""
        wanted, known = self.index.run_id, self.runs()["run_id"].to_list()
        if wanted not in known:
            raise MalformedFile(
                "the bundle does not hold its run",
                where=self.address,
                expected=wanted,
                found=known,
            )
        return self.run(wanted)

    def artifacts(
        self, *, limit: int | None = None, **wanted: Unpack[ArtifactFilter]
    ) -> pl.DataFrame:
        """Return what runs made, newest first; see `workbench.store.Store.artifacts`."""
        found = super().artifacts(limit=limit, **wanted)
        return found.with_columns(stored=pl.col("sha256").is_in(self.held))

    @property
    def held(self) -> list[str]:
        """The sha-256 of each artifact whose bytes are in the bundle."""
        names = (name for name in self.index.files if name.startswith(_ARTIFACTS))
        return [name.removeprefix(_ARTIFACTS) for name in names]

    def get_artifact(self, sha256: str) -> bytes:
        """Return the bytes with this sha-256.

        Raises
        ------
        ArtifactNotFound
            The bundle has none.
        """
        if sha256 not in self.held:
            raise ArtifactNotFound("the bundle has no such artifact", where=self.address)
        return (self.folder / _ARTIFACTS / sha256).read_bytes()

    def close(self) -> None:
        """Remove what was unpacked."""
        self._gone()


def looks_like_one(path: Path) -> bool:
    """Say whether a file begins as a bundle does."""
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def is_as_written(path: str | os.PathLike[str]) -> bool:
    """Say whether a bundle's bytes are those that `write` makes of its entries, all of them."""
    with tempfile.TemporaryDirectory(prefix="workbench-bundle-") as scratch:
        folder, again = Path(scratch, "parts"), Path(scratch, "again")
        folder.mkdir()
        _unpack(Path(path), folder)
        _zip(again, [(p.relative_to(folder).as_posix(), p) for p in _files(folder)])
        return _sha256(again) == _sha256(Path(path))


def _unpack(path: Path, folder: Path) -> Index:
    """Write a bundle's entries into a folder, if it is sound in every respect."""
    if not path.is_file():
        raise UsageError("there is no such file", where=str(path))
    if not looks_like_one(path):
        raise _no_bundle(path)
    with _broken_is_malformed(path), zipfile.ZipFile(path) as packed:
        entries = _entries(packed, path)
        index = _index_of(packed, entries, path)
        _compare(str(path), sorted(entries.keys() - {INDEX}), sorted(index.files))
        for name, entry in sorted(entries.items()):
            found = _unpack_one(packed, entry, folder / name)
            if name != INDEX and found != index.files[name]:
                raise MalformedFile(
                    "the file's bytes are not those that were bundled",
                    where=f"{path}: {name}",
                    expected=index.files[name],
                    found=found,
                )
    for name in manifest.FILES:
        _refuse_swollen(folder / name, where=f"{path}: {name}")
    return index


@contextmanager
def _broken_is_malformed(path: Path) -> Iterator[None]:
    try:
        with reading(str(path), store=str(path)):
            yield
    except _BROKEN as error:
        raise MalformedFile(
            "the bundle cannot be read", where=str(path), found=str(error)
        ) from error


def _entries(packed: zipfile.ZipFile, path: Path) -> dict[str, zipfile.ZipInfo]:
    """Return the entries by name; refuse what `write` never makes."""
    found: dict[str, zipfile.ZipInfo] = {}
    for entry in packed.infolist():
        where = f"{path}: {entry.filename!r}"
        if entry.filename in found:
            raise MalformedFile("a name stands twice in the bundle", where=where)
        if not _is_known(entry.filename):
            leads_out = ".." in entry.filename or entry.filename.startswith(("/", "\\"))
            what = "a name leads out of the bundle" if leads_out else "a bundle has no such file"
            raise MalformedFile(what, where=where, expected=sorted({INDEX, *_PARTS}))
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
            raise MalformedFile("an entry of a bundle is stored as it is", where=where)
        found[entry.filename] = entry
    size = path.stat().st_size
    if sum(entry.file_size for entry in found.values()) > size:
        raise MalformedFile(
            "the entries come to more than the file", where=str(path), expected=f"up to {size} B"
        )
    return found


def _is_known(name: str) -> bool:
    if name.startswith(_ARTIFACTS):
        return hashing.is_sha256(name.removeprefix(_ARTIFACTS))
    return name == INDEX or name in _PARTS


def _index_of(packed: zipfile.ZipFile, entries: dict[str, zipfile.ZipInfo], path: Path) -> Index:
    entry = entries.get(INDEX)
    where = f"{path}: {INDEX}"
    if entry is None:
        raise _no_bundle(path)
    if entry.file_size > _LARGEST_INDEX:
        raise MalformedFile("the index is too large", where=where, found=entry.file_size)
    raw = packed.read(entry)
    try:
        probe: Any = msgspec.json.decode(raw)
        said = (probe.get("format"), probe.get("version")) if isinstance(probe, dict) else None
        if said != (FORMAT, VERSION):
            raise UnknownFormat(
                "the bundle is of another format or version",
                where=where,
                expected=f"{FORMAT} {VERSION}",
                found=said,
            )
        if rfc8785.dumps(probe) != raw:
            raise MalformedFile("the index is not as it was written", where=where)
        return msgspec.convert(probe, Index)
    except (msgspec.MsgspecError, rfc8785.CanonicalizationError) as error:
        raise MalformedFile("the index cannot be read", where=where, found=str(error)) from error


def _no_bundle(path: Path) -> UnknownFormat:
    return UnknownFormat(
        "this is neither a folder of exported runs nor a bundle",
        where=str(path),
        expected=f"a folder with {manifest.NAME}, or a zip with {INDEX}",
        found="a file",
        hint="`workbench export RUN --bundle FILE` makes one",
    )


def _compare(where: str, found: list[str], expected: list[str]) -> None:
    if found != expected:
        raise MalformedFile(
            "the bundle lacks files, or has others", where=where, expected=expected, found=found
        )
    if lacking := sorted(_PARTS - set(found)):
        raise MalformedFile("the bundle lacks files", where=where, expected=lacking)


def _unpack_one(packed: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path) -> str:
    target.parent.mkdir(exist_ok=True)
    hasher = hashlib.sha256()
    with packed.open(entry) as came, target.open("xb") as out:
        while block := came.read(_BLOCK):
            hasher.update(block)
            out.write(block)
    return hasher.hexdigest()


def _refuse_swollen(path: Path, *, where: str) -> None:
    """Refuse a table that would fill the memory: a few bytes can say a great deal."""
    with reading(where, store=where):
        told = pq.read_metadata(path)
        size = sum(told.row_group(number).total_byte_size for number in range(told.num_row_groups))
    if size > MOST_BYTES:
        raise MalformedFile(
            "the file comes to too much", where=where, expected=f"up to {MOST_BYTES} B", found=size
        )
