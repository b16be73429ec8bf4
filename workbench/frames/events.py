"""Events as a frame, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import polars as pl

from workbench.frames.columns import EVENTS
from workbench.schema import Event

if TYPE_CHECKING:
    from collections.abc import Iterable

_FIELDS = tuple(EVENTS)


def from_events(events: Iterable[Event]) -> pl.DataFrame:
    """Return the events as a frame with the columns `EVENTS`, in the order given."""
    listed = list(events)
    data: dict[str, list[Any]] = {
        name: [getattr(event, name) for event in listed] for name in _FIELDS if name != "payload"
    }
    data["payload"] = [bytes(event.payload).decode() for event in listed]
    return pl.DataFrame({name: data[name] for name in _FIELDS}, schema=EVENTS)


def to_events(frame: pl.DataFrame) -> list[Event]:
    """Return the rows of a frame with the columns `EVENTS` as events, in the order of the rows."""
    given = [name for name in _FIELDS if frame[name].null_count() < len(frame)]
    return [_event(row) for row in frame.select(given).iter_rows(named=True)]


def _event(row: dict[str, Any]) -> Event:
    row["payload"] = msgspec.Raw(row["payload"].encode())
    return Event(**row)
