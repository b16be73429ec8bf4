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
    started_at: datetime | None = None
    ended_at: datetime | None = None
    duration_ms: float | None = None
    status: str | None = None
    closes: bool = False


def tally(accepted: Iterable[Checked], *, cost_local: bool) -> Tally:
    """Return the sums over the newly accepted events."""
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
                _add_outcome(total, event, usage=one.body.usage, cost_local=cost_local)
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


def _add_outcome(total: Tally, event: Event, *, usage: Any, cost_local: bool) -> None:
    failed = event.status == "error"
    total.errors += failed
    total.tool_errors += failed and event.kind == "tool"
    total.input_tokens += event.input_tokens or 0
    total.output_tokens += event.output_tokens or 0
    total.cost_known_usd += event.cost_usd or 0.0
    total.unknown_cost_parts += _is_unknown(event, usage=usage, cost_local=cost_local)


def _is_unknown(event: Event, *, usage: Any, cost_local: bool) -> bool:
    """Unknown is null, or 0 where tokens were used, unless the provider is declared local."""
    tokens = (event.input_tokens or 0) + (event.output_tokens or 0)
    priced = event.kind == "model" or (event.kind == "human" and (usage or tokens > 0))
    if not priced:
        return False
    if event.cost_usd is None:
        return True
    return event.cost_usd == 0 and tokens > 0 and not cost_local
