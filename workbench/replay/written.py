"""A new run as its certificate knows it: the roots are taken from its events as they are stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from workbench import frames

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from workbench.store.run import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What a certificate says of a run that is not to be replayed now.

    The fields are those of `workbench.recording.Recording` with these names; ``digests`` has the
    ``seq`` of every event.
    """

    digests: Collection[int]
    writers: dict[str, int]
    bodies: Mapping[str, dict[str, Any]]
    log_root: str
    content_root: str


def read(run: Run) -> Written:
    """Read what a certificate says of a run."""
    events = run.events
    last = events.group_by("writer").agg(pl.col("writer_seq").max()).sort("writer")
    return Written(
        digests=events["seq"].to_list(),
        writers=dict(last.iter_rows()),
        bodies=run.bodies(),
        log_root=frames.log_root(events),
        content_root=frames.content_root(events),
    )
