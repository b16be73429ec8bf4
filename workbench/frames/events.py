"""Events as a frame, and back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import polars as pl
from msgspec import Raw

from workbench.frames.columns import EVENTS
from workbench.schema import Event

if TYPE_CHECKING:
    from collections.abc import Iterable

_FIELDS = tuple(EVENTS)
_TIMES = ("started_at", "received_at")
_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)


def from_events(events: Iterable[Event]) -> pl.DataFrame:
    """Return the events as a frame with the columns `EVENTS`, in the order given."""
    listed = list(events)
    data: dict[str, Any] = {name: list(map(attrgetter(name), listed)) for name in _FIELDS}
    data["payload"] = [str(payload, "utf-8") for payload in data["payload"]]
    for name in _TIMES:
        data[name] = _times(data[name])
    return pl.DataFrame(data, schema=EVENTS)


def _times(given: list[datetime | None]) -> pl.Series:
    """Return times as a column: polars itself takes many times as long to read them."""
    since = [None if at is None else (_aware(at) - _EPOCH) // _MICROSECOND for at in given]
    counted = pl.Series(since, dtype=pl.Int64)
    return counted.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")


def _aware(at: datetime) -> datetime:
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def to_events(frame: pl.DataFrame) -> list[Event]:
    """Return the rows of a frame with columns of `EVENTS` as events, in the order of the rows."""
    columns = (column for column in frame.get_columns() if column.name in EVENTS)
    given = [column for column in columns if column.null_count() < len(frame)]
    names = [column.name for column in given]
    rows = zip(*map(_values, given), strict=True)
    return [Event(**dict(zip(names, row, strict=True))) for row in rows]


def _values(column: pl.Series) -> list[Any]:
    found = column.to_list()
    return [Raw(text.encode()) for text in found] if column.name == "payload" else found
