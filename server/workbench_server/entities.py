"""What an ``artifact_created`` event leaves besides its row in the log. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from workbench.errors import InvalidEvent, LimitExceeded
from workbench.hashing import is_sha256
from workbench_server.limits import check_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from workbench.schema import ArtifactCreated
    from workbench_server.ingest.checking import Checked

_LARGEST = 2**63 - 1
_MOST_TAGS = 100
_MOST_BYTES = 1_000


def check_artifact(body: ArtifactCreated, *, where: str) -> None:
    """Refuse what the columns of an artifact cannot hold."""
    if not is_sha256(body.sha256):
        raise InvalidEvent(
            "the artifact's sha256 is none",
            where=f"{where}.payload.sha256",
            expected="64 lower-case hex digits",
            found=body.sha256[:80],
        )
    if not 0 <= body.size <= _LARGEST:
        raise InvalidEvent(
            "the artifact's size is out of range", where=f"{where}.payload.size", found=body.size
        )
    if len(body.tags) > _MOST_TAGS:
        raise LimitExceeded(
            "the artifact has too many tags",
            where=f"{where}.payload.tags",
            expected=f"at most {_MOST_TAGS}",
            found=len(body.tags),
        )
    for text in (body.media_type, body.entity_type or "", *body.tags):
        check_text(text, where=f"{where}.payload", most=_MOST_BYTES)


def artifacts_of(accepted: Iterable[Checked], *, first_seq: int) -> str | None:
    """Return the rows of a batch's artifacts as a JSON list, or None where it has none."""
    rows = [
        {
            "seq": seq,
            "sha256": one.body.sha256,
            "media_type": one.body.media_type,
            "size": one.body.size,
            "entity_type": one.body.entity_type,
            "tags": one.body.tags,
        }
        for seq, one in enumerate(accepted, first_seq)
        if one.event.event_type == "artifact_created"
    ]
    return msgspec.json.encode(rows).decode() if rows else None
