"""What a run's header may say: texts, labels, and where it was forked. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.errors import InvalidEvent
from workbench.hashing import is_sha256
from workbench_server.limits import check_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workbench.schema import RunHeader

MOST_BYTES = 2_000  # of an index's page
_LABEL_BYTES = 2 * 2**20  # a search sees the beginning of a long one
_LOWEST, _HIGHEST = -(2**63), 2**64 - 1  # beyond them there is no canonical JSON
_LAST = 2**63 - 1
_SHOWN = 80
_TEXTS = ("name", "agent", "source", "session")


def check_header(header: RunHeader) -> None:
    """Refuse what the columns of a run cannot hold, or what names nothing."""
    for name in _TEXTS:
        if (text := getattr(header, name)) is not None:
            check_text(text, where=name, most=MOST_BYTES)
    check_labels(header.labels)
    if header.forked_at is not None and not 1 <= header.forked_at <= _LAST:
        raise InvalidEvent(
            "a run is forked at an event of its parent",
            where="forked_at",
            expected=f"1 to {_LAST}",
            found=header.forked_at,
        )
    if header.edits_hash is not None and not is_sha256(header.edits_hash):
        raise InvalidEvent(
            "edits_hash is no sha-256",
            where="edits_hash",
            expected="64 lower-case hex digits",
            found=header.edits_hash[:_SHOWN],
        )


def check_labels(labels: Mapping[str, str | float | None]) -> None:
    """Refuse labels that could not be found again, or not be read."""
    for name, value in labels.items():
        where = f"labels.{name[:_SHOWN]}".replace("\0", "\\0")
        check_text(name, where=where, most=MOST_BYTES)
        if isinstance(value, str):
            check_text(value, where=where, most=_LABEL_BYTES)
        elif isinstance(value, int) and not _LOWEST <= value <= _HIGHEST:
            raise InvalidEvent(
                "a number is out of range",
                where=where,
                expected="a number of 64 bits",
                found=f"{value}"[:_SHOWN],
            )
