"""Add up what a batch changes in its run's row. Pure; no earlier event is read."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from msgspec import Struct

from workbench.schema import Event
from workbench_server.ingest.checking import Checked


class Tally(Struct, kw_only=True):
    """Sums to add; times and status to set."""

    events: int = 0
    steps: int = 0
    calls: int = 0
    model_calls: int = 0
    tool_calls: int = 0
    tool_errors: int = 0
    errors: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_known_usd: float = 0.0
    unknown_cost_parts: int = 0
    unknown_cost_parts_local: int = 0
    started_at: datetime | None = None
    ended_at: datetime | None = None
    duration_ms: float | None = None
    status: str | None = None
    closes: bool = False


def tally(accepted: Iterable[Checked]) -> Tally:
    """Return the sums over the newly accepted events.

    ``unknown_cost_parts_local`` is for a run whose provider is declared local.
    """
    total = Tally()
    for one in accepted:
        event = one.event
        total.events += 1
        match event.event_type:
            case "call_started":
                _add_call(total, event)
            case "step_started":
                total.steps += 1
            case "call_ended":
                _add_outcome(total, event, usage=one.usage)
            case "step_ended":
                total.errors += event.status == "error"
            case "run_started":
                total.started_at = event.started_at
            case "interrupted" | "resumed" if not total.closes:
                total.status = "waiting" if event.event_type == "interrupted" else "running"
            case "run_ended":
                _end(total, event)
            case _:
                pass
    return total


def _end(total: Tally, event: Event) -> None:
    total.closes = True
    total.status = event.status
    total.ended_at, total.duration_ms = event.started_at, event.duration_ms


def _add_call(total: Tally, event: Event) -> None:
    total.steps += 1
    total.calls += 1
    total.model_calls += event.kind == "model"
    total.tool_calls += event.kind == "tool"


def _add_outcome(total: Tally, event: Event, *, usage: Any) -> None:
    if event.status == "error":
        total.errors += 1
        total.tool_errors += event.kind == "tool"
    total.input_tokens += event.input_tokens or 0
    total.output_tokens += event.output_tokens or 0
    total.cost_known_usd += event.cost_usd or 0.0
    if event.kind in ("model", "human"):
        _add_unknown_cost(total, event, usage=usage)


def _add_unknown_cost(total: Tally, event: Event, *, usage: Any) -> None:
    """Unknown is null, or 0 where tokens were used, unless the provider is declared local."""
    tokens = (event.input_tokens or 0) + (event.output_tokens or 0)
    if event.kind == "human" and not usage and tokens == 0:
        return
    if event.cost_usd is None:
        total.unknown_cost_parts += 1
        total.unknown_cost_parts_local += 1
    elif event.cost_usd == 0 and tokens > 0:
        total.unknown_cost_parts += 1
