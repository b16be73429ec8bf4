"""What is done when the agent has ended: a replay's certificate is stored beside the new run.

The new run names it by a label. Whatever fails there is told, and takes nothing of what the replay
came to away.
"""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.capture import RecordingWarning
from workbench.errors import ArtifactNotFound, FormatError, WorkbenchError
from workbench.replay import certificate
from workbench.schema import RunPatch
from workbench.store import FolderStore
from workbench.store.folder import CERTIFICATE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workbench.store.run import Run

LABEL = "certificate"
"""The label of a run that holds the sha-256 of its certificate, an artifact of the store."""


class Lost:
    """Collects what of a replay could not be kept, and warns of each."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def tell(self, what: str, why: object) -> None:
        """Note that something is lost, and why."""
        text = f"{what}: {why}"
        self.told.append(text)
        warnings.warn(text, RecordingWarning, stacklevel=2)

    @contextmanager
    def told_of(self, what: str) -> Iterator[None]:
        """Note in place of an exception that something is lost."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - the agent has ended: what came of it stands
            self.tell(what, error if isinstance(error, WorkbenchError) else repr(error))


def keep(document: dict[str, Any], run: Run) -> None:
    """Keep a certificate with the run it was made for."""
    data = certificate.dumps(document)
    if isinstance(run.store, FolderStore):
        Path(run.store.path_of(CERTIFICATE)).write_bytes(data)
    else:
        sha256 = run.store.put_artifact(data)
        run.info = run.store.patch(run.run_id, RunPatch(labels={LABEL: sha256}))


def kept(run: Run) -> bytes | None:
    """Return the certificate of a run as it was stored, or None where it has none."""
    if isinstance(run.store, FolderStore):
        found = run.store.certificate
        return found if found and (run.store.contents.runs == 1 or _names(found, run)) else None
    named = run.labels.get(LABEL)
    if not isinstance(named, str):
        return None
    try:
        return run.store.get_artifact(named)
    except ArtifactNotFound:
        return None


def _names(data: bytes, run: Run) -> bool:
    """Say whether a certificate that lies beside several runs is of this one."""
    try:
        document = certificate.load(data, where=CERTIFICATE)
    except FormatError:
        return True
    return run.run_id in certificate.sides(document).values()
