"""A new run that is written beside its store, kept there as one artifact, and stored later.

So whoever is killed on the way leaves either nothing or all of the run: what is kept can be stored
by anybody, and as often as need be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import zstandard

from workbench.schema import Event, RunHeader
from workbench.store import export
from workbench.store.folder import FolderStore
from workbench.store.redacting import SpoolRedaction

if TYPE_CHECKING:
    from pathlib import Path

    from workbench.store.remote import RemoteStore
    from workbench.store.run import Run

_LEVEL = 3


class _Kept(msgspec.Struct, kw_only=True, frozen=True):
    header: RunHeader
    events: list[Event]
    bodies: dict[str, dict[str, Any]]


class Aside:
    """A server's store, but that its one new run goes to a folder.

    Parameters
    ----------
    store
        Where all else is read and kept.
    folder
        Where the new run is written; it does not exist yet.
    run_id, parent_run_id
        The new run's own id, and that of the run it comes from.
    """

    read_only = False

    def __init__(
        self, store: RemoteStore, folder: Path, *, run_id: str, parent_run_id: str
    ) -> None:
        self._store = store
        self._folder = folder
        self._ids = {"run_id": run_id, "parent_run_id": parent_run_id}
        self._header = RunHeader()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def writer(self, header: RunHeader) -> export.FolderWriter:
        """Return what appends to the new run."""
        self._header = msgspec.structs.replace(header, **self._ids)
        return export.writer(self._folder, self._header)

    def run(self, wanted: str) -> Run:
        """Return the new run by its id."""
        return FolderStore(str(self._folder)).run(wanted)

    def keep(self, **labels: str) -> str:
        """Keep the new run, with more labels, as an artifact of the store; return its sha-256."""
        run = self.run(str(self._header.run_id))
        events = [
            msgspec.structs.replace(event, seq=None, received_at=None) for event in run.event_log()
        ]
        header = msgspec.structs.replace(self._header, labels={**self._header.labels, **labels})
        kept = _Kept(header=header, events=events, bodies=dict(run.bodies()))
        packed = zstandard.ZstdCompressor(level=_LEVEL).compress(msgspec.json.encode(kept))
        return self._store.put_artifact(packed)


def store_kept(store: RemoteStore, sha256: str) -> None:
    """Store a run that was kept; what is stored of it already is left as it is.

    Raises
    ------
    ArtifactNotFound
        The workspace has no such artifact.
    Conflict
        The id is taken by another run.
    """
    raw = zstandard.ZstdDecompressor().decompress(store.get_artifact(sha256))
    kept = msgspec.json.decode(raw, type=_Kept)
    header, events, bodies = kept.header, kept.events, kept.bodies
    layer = store.redaction()
    if layer is not None and layer.rules:  # those in force now may be other ones
        redaction = SpoolRedaction(layer)
        header = redaction.header(header)
        events, bodies = redaction.run(events, bodies)
    run_id = store.declare(header).run_id
    store.append(run_id, events, bodies)
