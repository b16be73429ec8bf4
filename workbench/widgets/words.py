"""What calls were asked and what they gave, from a run's own log."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_MESSAGES = 2_000


def with_asked(run: Any) -> pl.DataFrame:
    """Return a run's steps; short runs also say what each model call asked for, in `asked`."""
    steps: pl.DataFrame = run.steps
    if len(steps) > MOST_MESSAGES or not (steps["kind"] == "model").any():
        return steps
    names = (
        pl.col("tool_calls")
        .list.eval(pl.element().struct.field("name"))
        .list.unique(maintain_order=True)
    )
    said = run.messages.filter(pl.col("role") == "assistant", pl.col("seq").is_not_null())
    asked = said.select(
        pl.col("seq").alias("ended_seq"),
        pl.when(names.list.len() > 0)
        .then(names.list.join(" + "))
        .otherwise(pl.lit("reply"))
        .alias("asked"),
    ).unique("ended_seq", keep="last")
    joined = steps.join(asked, on="ended_seq", how="left", maintain_order="left")
    model = pl.when(pl.col("kind") == "model").then(pl.col("asked"))
    return joined.with_columns(model.alias("asked"))


def told(run: Any) -> Callable[[int], list[tuple[str, str]]]:
    """Say what a call was asked and gave, from the run's own log, when somebody looks at it."""

    def words(seq: int) -> list[tuple[str, str]]:
        calls = run.calls.filter(pl.col("seq") == seq)
        if calls.is_empty():
            return []
        row = calls.row(0, named=True)
        asked, gave = _request(row.get("request")), _outcome(row.get("outcome"), run)
        return [(label, text) for label, text in (("asked", asked), ("gave", gave)) if text]

    return words


def _request(text: str | None) -> str:
    request = json.loads(text or "null")
    if not isinstance(request, dict) or "messages" in request:
        return ""
    told = request.get("arguments", request.get("query", request.get("prompt")))
    return told if isinstance(told, str) else json.dumps(told, ensure_ascii=False)


def _outcome(text: str | None, run: Any) -> str:
    outcome = json.loads(text or "null")
    if not isinstance(outcome, dict):
        return ""
    if "message" in outcome:
        body = run.bodies().get(outcome["message"], {})
        called = ", ".join(str(call.get("name")) for call in body.get("tool_calls", ()))
        content = body.get("content")
        said = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
        return said if content else f"calls {called}"
    told = outcome.get("documents", outcome.get("value"))
    return told if isinstance(told, str) else json.dumps(told, ensure_ascii=False)
