"""Runs and steps as text for a terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import orjson
import polars as pl
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from datetime import datetime

    from workbench.store import Run

_WIDTH_OF_A_PIPE = 200
_LONGEST_VALUE = 300
_FORKS_SHOWN = 10
_CONTROLS = {code: "\ufffd" for code in (*range(32), *range(127, 160)) if code not in (9, 10)}
_STYLES = {"failed": "red", "error": "red", "diverged": "red", "lost": "red", "running": "yellow"}


def runs_table(found: pl.DataFrame) -> str:
    """Return runs as a table."""
    table = Table(box=None, pad_edge=False)
    for heading in ("run", "status", "started", "what"):
        table.add_column(heading, no_wrap=heading != "what", overflow="fold")
    for heading in ("took", "calls", "errors", "cost"):
        table.add_column(heading, no_wrap=True, justify="right")
    for row in found.iter_rows(named=True):
        table.add_row(
            row["run_id"],
            _status(row["status"]),
            _when(row["started_at"]),
            _plain(row["name"] or row["source"]),
            _span(row["duration_ms"]),
            str(row["calls"]),
            str(row["errors"] or ""),
            _cost(row),
        )
    return _printed(table)


def sessions_table(found: pl.DataFrame) -> str:
    """Return sessions as a table."""
    table = Table(box=None, pad_edge=False)
    table.add_column("session", overflow="fold")
    for heading in ("runs", "failed", "calls", "errors", "tokens", "took p50", "p95", "cost"):
        table.add_column(heading, no_wrap=True, justify="right")
    table.add_column("last active", no_wrap=True)
    for row in found.iter_rows(named=True):
        table.add_row(
            _plain(row["session"]),
            str(row["runs"]),
            str(row["failed"] or ""),
            str(row["model_calls"] + row["tool_calls"]),
            str(row["errors"] or ""),
            f"{row['input_tokens'] + row['output_tokens']:,}",
            _span(row["duration_p50_ms"]),
            _span(row["duration_p95_ms"]),
            _cost(row),
            _when(row["last_at"]),
        )
    return _printed(table)


def rows_table(rows: list[dict[str, Any]], columns: dict[str, str]) -> str:
    """Return rows as a table; `columns` gives each column's heading, numbers stand to the right."""
    table = Table(box=None, pad_edge=False)
    for name, heading in columns.items():
        number = any(isinstance(row[name], int | float) for row in rows)
        table.add_column(heading, no_wrap=True, justify="right" if number else "left")
    for row in rows:
        table.add_row(*(_plain(_shown(row[name])) for name in columns))
    return _printed(table)


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else str(value)


def run_text(run: Run, *, shown: int) -> str:
    """Return a run's head, its first steps, and all that failed."""
    parts: list[Any] = [_head(run)]
    if run.steps.height:
        parts.append(_steps(run.steps.head(shown)))
    if run.steps.height > shown:
        parts.append(Text(f"… and {run.steps.height - shown} more steps (--steps)"))
    return "\n".join(_printed(part) for part in [*parts, _failures(run)] if part)


def _head(run: Run) -> Table:
    info = run.info
    table = Table.grid(padding=(0, 2))
    for fact, value in {
        "run": run.run_id,
        "status": f"{run.status} · health {info['health']}",
        "name": info["name"],
        "source": info["source"],
        "agent": info["agent"],
        "session": info["session"],
        "forked": info["parent_run_id"] and _forked(info),
        "forks": _forks(run),
        "supersedes": info["supersedes"],
        "superseded": info["superseded_by"] and f"by {info['superseded_by']}",
        "labels": "" if not run.labels else info["labels"],
        "started": _when(info["started_at"]),
        "took": _span(info["duration_ms"]),
        "calls": f"{info['calls']}: {info['model_calls']} model, {info['tool_calls']} tool",
        "tokens": f"{info['input_tokens']} in, {info['output_tokens']} out",
        "cost": _cost(info),
        "lacks": "; ".join(run.coverage.lacks) or "nothing known",
        "digest": run.digest,
        "input": _short(run.input),
        "output": _short(run.output),
    }.items():
        if value:
            table.add_row(Text(fact, style="dim"), _plain(str(value)))
    return table


def _forked(info: dict[str, Any]) -> str:
    at = "" if info["forked_at"] is None else f" at {info['forked_at']}"
    return f"from {info['parent_run_id']}{at}"


def _forks(run: Run) -> str:
    """Return the runs that were made of this one, with how they ended."""
    rows = run.forks.head(_FORKS_SHOWN + 1).select("run_id", "status").rows()
    named = [f"{run_id} {status}" for run_id, status in rows[:_FORKS_SHOWN]]
    return "\n".join([*named, "…"] if len(rows) > _FORKS_SHOWN else named)


def _steps(steps: pl.DataFrame) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("seq", "at ms", "ms"):
        table.add_column(heading, justify="right", no_wrap=True)
    for heading in ("kind", "name", "lane", "status"):
        table.add_column(heading, no_wrap=heading != "lane", overflow="fold")
    for row in steps.iter_rows(named=True):
        table.add_row(
            str(row["seq"]),
            _number(row["start_ms"]),
            _number(row["duration_ms"]),
            row["kind"] or "step",
            _plain(row["name"]),
            _plain(row["lane"]),
            _status(row["status"]),
        )
    return table


def _failures(run: Run) -> Text | None:
    failed = run.steps.filter(pl.col("status") == "error")
    lines = [
        f"  {row['seq']} {row['kind'] or 'step'} {row['name'] or ''}: {row['error'] or 'error'}"
        for row in failed.iter_rows(named=True)
    ]
    if run.exception:
        lines.append(f"  run: {run.exception.get('class')}: {run.exception.get('message')}")
    return _plain("\n".join(["what failed", *lines])) if lines else None


def _printed(what: Any) -> str:
    console = Console()
    if not sys.stdout.isatty():
        console = Console(width=_WIDTH_OF_A_PIPE)
    with console.capture() as captured:
        console.print(what)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def _plain(text: str | None) -> Text:
    """Return a stranger's text without what would move the cursor or colour the terminal."""
    return Text((text or "").translate(_CONTROLS), overflow="fold")


def _status(status: str) -> Text:
    return Text(status, style=_STYLES.get(status, ""))


def _when(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S}"


def _span(ms: float | None) -> str:
    if ms is None:
        return ""
    return f"{ms:.0f} ms" if ms < 1000 else f"{ms / 1000:.1f} s"  # noqa: PLR2004 - a second


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _cost(row: dict[str, Any]) -> str:
    if row["cost_usd"] is not None:
        return f"${row['cost_usd']:.4f}" if row["cost_usd"] else ""
    return f"≥ ${row['cost_known_usd'] or 0:.4f}, {row['unknown_cost_parts']} unknown"


def _short(value: Any) -> str:
    if value is None:
        return ""
    text = orjson.dumps(value).decode()
    return text if len(text) <= _LONGEST_VALUE else text[:_LONGEST_VALUE] + "…"
