"""What went into the root of a run and what came out, of it and of its steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import polars as pl

from workbench import sharing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Bodies = Callable[[], Mapping[str, dict[str, Any]]]


def root_body(events: pl.DataFrame, event_type: str) -> dict[str, Any]:
    """Return the body of the first event of a type, ``{}`` when there is none."""
    found = events.filter(pl.col("event_type") == event_type)["payload"]
    return dict(orjson.loads(found[0])) if len(found) else {}


def root_input(events: pl.DataFrame, bodies: Bodies) -> Any:
    """Return the recorded input; where messages are pooled, their bodies stand in their place."""
    started = root_body(events, "run_started")
    given = started.get("input")
    if not started.get("pooled") or not isinstance(given, dict):
        return given
    pool = bodies()
    return given | {"messages": [pool[digest] for digest in given.get("messages") or []]}


def root_output(events: pl.DataFrame, bodies: Bodies) -> Any:
    """Return the recorded output, its messages written out; None where there is none."""
    return sharing.with_bodies(root_body(events, "run_ended").get("output"), bodies)


def step_outputs(events: pl.DataFrame, bodies: Bodies) -> dict[str, Any]:
    """Return step id → what it gave back, written out, in the order in which they ended."""
    ended = events.filter(pl.col("event_type") == "step_ended").sort("seq")
    unfolding, found = sharing.OutputUnfolding(), {}
    for step_id, payload in ended.select("step_id", "payload").iter_rows():
        body = orjson.loads(payload)
        if "output" in body:
            whole = unfolding.whole(step_id, body["output"])
            found[step_id] = sharing.with_bodies(whole, bodies)
    return found
