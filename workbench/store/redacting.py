"""What a spool holds is held against rules: a run's header, and lines that a server refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from workbench.redaction import Wanted
from workbench.redaction.lines import LinesRedaction

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from workbench.redaction import Layer, Redaction
    from workbench.schema import Event, RunHeader


def redacted_header(header: RunHeader, redaction: Redaction) -> RunHeader:
    """Return a run's header whose name, session and labels may be stored."""
    if not redaction:
        return header
    said = {"name": header.name, "session": header.session, "labels": header.labels}
    made = redaction.value(said)
    if not isinstance(made, dict):  # a hook that cannot take it
        return msgspec.structs.replace(header, name=None, session=None, labels={})
    labels = made.get("labels")
    return msgspec.structs.replace(
        header,
        name=_text(made.get("name")),
        session=_text(made.get("session")),
        labels={
            name: value if isinstance(value, (str, int, float, bool)) else _text(value)
            for name, value in (labels if isinstance(labels, dict) else {}).items()
        },
    )


def _text(value: object) -> str | None:
    return None if value is None else str(value)


class SpoolRedaction:
    """Redacts by a workspace's rules what was written to the disk under others."""

    def __init__(self, layer: Layer) -> None:
        self._redaction = Wanted().beside(layer)
        self._lines = LinesRedaction(self._redaction)

    def header(self, run: RunHeader) -> RunHeader:
        """Return what is said of the run as it may be stored."""
        return redacted_header(run, self._redaction)

    def run(
        self, events: Sequence[Event], bodies: Mapping[str, Any]
    ) -> tuple[list[Event], dict[str, Any]]:
        """Return a run's events and bodies as they may be stored."""
        return self._lines.run(events, bodies)

    def lines(self, raw: bytes) -> bytes:
        """Return the next lines of the writer as they may be stored."""
        return self._lines.lines(raw)
