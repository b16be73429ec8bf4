"""What went into the root of a run and what came out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import polars as pl

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def root_body(events: pl.DataFrame, event_type: str) -> dict[str, Any]:
    """Return the body of the first event of a type, ``{}`` when there is none."""
    found = events.filter(pl.col("event_type") == event_type)["payload"]
    return dict(orjson.loads(found[0])) if len(found) else {}


def root_input(events: pl.DataFrame, bodies: Callable[[], Mapping[str, dict[str, Any]]]) -> Any:
    """Return the recorded input; where messages are pooled, their bodies stand in their place."""
    started = root_body(events, "run_started")
    given = started.get("input")
    if not started.get("pooled") or not isinstance(given, dict):
        return given
    pool = bodies()
    return given | {"messages": [pool[digest] for digest in given.get("messages") or []]}
