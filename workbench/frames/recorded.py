"""A recording read from frames: of most events only the digest is looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from workbench import recording
from workbench.frames.events import to_events

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from workbench.recording import Recording
    from workbench.schema import Event

_AT_ONCE = 1_000
# what a recording does not look at, and would take as long to read as the rest
_UNHEARD = (
    "attempt_of", "content_hash", "duration_ms", "match_level", "mode", "parent_step_id",
    "received_at", "version",
)  # fmt: skip


def recorded(pages: Iterable[pl.DataFrame], bodies: Mapping[str, dict[str, Any]]) -> Recording:
    """Return the recording of a run whose events come in pieces, by ``seq``.

    The columns are `EVENTS`; each piece may be forgotten when the next one comes.
    """
    reader = recording.Reader(bodies)
    for page in pages:
        if not are_sealed(page):  # written by hand: what is not there is computed
            for event in to_events(page):
                reader.take(event)
            continue
        for of_one_writer in counted(page):
            reader.count(*of_one_writer)
        for event in heard([page]):
            reader.hear(event)
    return reader.recording()


def counted(page: pl.DataFrame) -> Iterator[tuple[str, list[int], list[int], list[str]]]:
    """Give each writer's events: their ``seq``, its own numbers, and their digests."""
    columns = page.select("writer", "seq", "writer_seq", "digest")
    for part in columns.partition_by("writer", maintain_order=True):
        writers, *rest = part.get_columns()
        seqs, numbers, digests = (column.to_list() for column in rest)
        yield writers[0], seqs, numbers, digests


def are_sealed(page: pl.DataFrame) -> bool:
    """Say whether every event has its digest and its place, as those of a store have."""
    digests = page["digest"].str.contains("^[0-9a-f]{64}$").fill_null(value=False)
    return digests.all() and not page["seq"].null_count()


def heard(pages: Iterable[pl.DataFrame]) -> Iterator[Event]:
    """Give the events that say something to a recording, with what it looks at of them."""
    root = (pl.col("event_type") == "step_started") & pl.col("name").str.starts_with(recording.ROOT)
    wanted = pl.col("event_type").is_in(list(recording.HEARD)) | root
    for page in pages:
        for piece in page.filter(wanted).drop(_UNHEARD).iter_slices(_AT_ONCE):
            yield from to_events(piece)
