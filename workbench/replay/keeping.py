"""A replay's certificate lies in the store of the new run, which names it by a label."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.capture import RecordingWarning
from workbench.errors import ArtifactNotFound, FormatError, WorkbenchError
from workbench.replay import certificate
from workbench.schema import RunPatch
from workbench.store import FolderStore
from workbench.store.folder import CERTIFICATE

if TYPE_CHECKING:
    from workbench.store.run import Run

LABEL = "certificate"
"""The label of a run that holds the sha-256 of its certificate, an artifact of the store."""


def keep(document: dict[str, Any], run: Run) -> None:
    """Keep a certificate with the run it was made for; a store that fails takes nothing away."""
    data = certificate.dumps(document)
    try:
        if isinstance(run.store, FolderStore):
            Path(run.store.path_of(CERTIFICATE)).write_bytes(data)
        else:
            sha256 = run.store.put_artifact(data)
            run.info = run.store.patch(run.run_id, RunPatch(labels={LABEL: sha256}))
    except (WorkbenchError, OSError) as error:
        text = f"the certificate of run {run.run_id} could not be stored: {error}"
        warnings.warn(text, RecordingWarning, stacklevel=4)


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
