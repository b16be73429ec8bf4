"""Rows of runs as a server sends them, in the types of `workbench.frames.RUNS`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import polars as pl

from workbench import frames, hashing

if TYPE_CHECKING:
    from collections.abc import Iterable

_TIMES = ("created_at", "started_at", "ended_at")


def as_frame(sent: Iterable[dict[str, Any]]) -> pl.DataFrame:
    """Return rows as a frame; no rows give its columns all the same."""
    listed = [as_row(row) for row in sent]
    columns = {name: [row[name] for row in listed] for name in frames.RUNS}
    return pl.DataFrame(columns, schema=frames.RUNS)


def fitted(sent: Iterable[dict[str, Any]], columns: frames.Columns) -> pl.DataFrame:
    """Return rows as a frame of these columns, times parsed; what else was sent is left out."""
    listed = list(sent)
    times = [name for name, kind in columns.items() if isinstance(kind, pl.Datetime)]
    schema = {name: pl.String() if name in times else kind for name, kind in columns.items()}
    data = {name: [row.get(name) for row in listed] for name in columns}
    parsed = (pl.col(name).str.to_datetime("%+", time_unit="us", time_zone="UTC") for name in times)
    return frames.fitted(pl.DataFrame(data, schema=schema).with_columns(*parsed), columns)


def as_row(sent: dict[str, Any]) -> dict[str, Any]:
    """Return one row: times parsed, labels as canonical JSON text, unknown columns left out."""
    row = {name: sent.get(name) for name in frames.RUNS}
    row["labels"] = hashing.dumps(sent.get("labels") or {}).decode()
    for name in _TIMES:
        if (text := sent.get(name)) is not None:
            row[name] = datetime.fromisoformat(text).astimezone(UTC)
    return row
