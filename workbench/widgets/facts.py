"""What the timeline says around the picture: header, kinds, lanes, notes. Plain JSON."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import polars as pl

from workbench.widgets import figures
from workbench.widgets.costs import costs
from workbench.widgets.kinds import KINDS, STRUCTURE
from workbench.widgets.rows import rows_needed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workbench.widgets.tracks import Tracks

MOST_TURNS = 200
OUTCOMES = ("outcome", "reward", "passed", "success", "utility", "security")
STATUS: dict[str, tuple[str, str, str]] = {
    "running": ("running", "run", "running"),
    "waiting": ("waiting for a person", "warn", "human"),
    "done": ("finished", "", "ok"),
    "failed": ("failed", "bad", "error"),
    "cancelled": ("cancelled", "", "stop"),
    "diverged": ("diverged", "warn", "warn"),
    "lost": ("lost", "warn", "warn"),
}
HEALTH = {
    "gap": "events are missing",
    "incomplete": "a writer never delivered the rest",
    "privacy_risk": "something may be stored that should not be",
}


def facts(track: Tracks, info: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the browser needs besides the steps; its size does not grow with them."""
    kinds = Counter(track.kind.tolist())
    errors = int(track.failed.sum())
    return {
        "title": str(info.get("name") or info.get("source") or "run"),
        "status": _status(info.get("status")),
        "chips": _chips(info),
        "figures": info.get("figures") or header_figures(track, info),
        "kinds": [[KINDS[code], kinds[code]] for code in sorted(kinds)],
        "lanes": _lanes(track, info.get("names") or {}),
        "kind_lanes": _kind_lanes(track),
        "steps": len(track),
        "slots": track.span("order"),
        "errors": errors,
        "clock": track.clock,
        "total": track.span("time"),
        "ended": info.get("status") not in {None, "running", "waiting"},
        "turns": _turns(track),
        "notes": _notes(track, info),
        "costs": costs(track),
        "code": _code(info),
        "label": _label(track, errors),
        "links": info.get("links"),
    }


def header_figures(track: Tracks, info: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return label, text (None is unknown) and why of each figure in the header."""
    frame = track.frame
    calls = frame.filter(pl.col("kind").is_not_null())
    took = info.get("duration_ms")
    if took is None and track.clock:
        took = track.total
    tokens = _tokens(calls, info)
    cost, why = _cost(calls, info)
    return [
        _figure("took", figures.duration(took), "the source records no times"),
        _figure("steps", f"{len(frame):,}"),
        _figure("calls", f"{len(calls):,}"),
        _figure("tokens", figures.big(tokens), "the source does not count them"),
        _figure("cost", figures.dollars(cost), why),
    ]


def _figure(label: str, text: str | None, why: str | None = None) -> dict[str, Any]:
    return {"label": label, "text": text, "why": why if text is None else None}


def _tokens(calls: pl.DataFrame, info: Mapping[str, Any]) -> int | None:
    columns = ("input_tokens", "output_tokens")
    told = [info.get(column) for column in columns]
    if any(value is not None for value in told):
        return sum(int(value or 0) for value in told)
    sums = [int(calls[column].sum()) for column in columns if calls[column].count()]
    return sum(sums) if sums else None


def _cost(calls: pl.DataFrame, info: Mapping[str, Any]) -> tuple[float | None, str]:
    if "cost_usd" in info:
        parts = info.get("unknown_cost_parts") or 0
        known = figures.dollars(info.get("cost_known_usd")) or "$0"
        return info["cost_usd"], f"{parts:,} calls have no price; the known ones cost {known}"
    priced = calls.filter(pl.col("kind") == "model")["cost_usd"]
    missing = priced.null_count()
    whole = float(priced.sum()) if len(priced) and not missing else None
    return whole, f"{missing:,} of {len(priced):,} model calls have no price"


def _status(word: str | None) -> dict[str, str] | None:
    if word is None:
        return None
    text, tone, glyph = STATUS.get(word, (word, "", "step"))
    return {"text": text, "tone": tone, "glyph": glyph}


def _chips(info: Mapping[str, Any]) -> list[dict[str, str]]:
    chips = []
    health = info.get("health")
    if health in HEALTH:
        tone = "bad" if health == "privacy_risk" else "warn"
        chips.append({"text": str(health).replace("_", " "), "tone": tone, "why": HEALTH[health]})
    if info.get("mode"):
        chips.append({"text": f"{info['mode']} replay", "tone": "", "why": "replay mode"})
    if info.get("forked_at") is not None:
        chips.append({"text": f"fork at #{info['forked_at']}", "tone": "", "why": "forked run"})
    labels = info.get("labels") or {}
    labels = orjson.loads(labels) if isinstance(labels, str) else labels
    told = [f"{key} {labels[key]}" for key in OUTCOMES if labels.get(key) is not None]
    return chips + [{"text": text[:40], "tone": "", "why": "label"} for text in told]


def _lanes(track: Tracks, names: Mapping[str, str]) -> list[dict[str, Any]]:
    found = []
    for number, lane in enumerate(track.lanes):
        mine = track.lane == number
        found.append(
            {
                "path": lane.path,
                "label": lane.label,
                "depth": lane.depth,
                "heading": {"letter": lane.heading, "text": names.get(lane.heading, "")}
                if lane.heading
                else None,
                "rows": _rows(track, mine & (track.kind != STRUCTURE)),
                "kinds": np.unique(track.kind[mine]).tolist(),
                "main": _main(track, mine & (track.kind != STRUCTURE)),
                "thin": bool((track.kind[mine] == STRUCTURE).all()),
            }
        )
    return found


def _rows(track: Tracks, mine: np.ndarray[Any, np.dtype[np.bool_]]) -> int:
    return rows_needed(track.start[mine], track.end[mine])


def _main(track: Tracks, mine: np.ndarray[Any, np.dtype[np.bool_]]) -> str | None:
    """Name the model of a mixed lane: it is printed once, captions go to the rest."""
    used, counts = np.unique(track.name[mine], return_counts=True)
    if len(used) <= 1:
        return None
    name = used[counts.argmax()]
    models = track.kind[mine & (track.name == name)] == KINDS.index("model")
    often = counts.max() > 0.4 * counts.sum() and bool(models.all())
    return track.names[name] if often else None


def _kind_lanes(track: Tracks) -> list[dict[str, Any]]:
    return [
        {
            "code": int(code),
            "path": KINDS[code],
            "label": "structure" if code == STRUCTURE else KINDS[code],
            "depth": 0,
            "rows": _rows(track, track.kind == code),
            "kinds": [int(code)],
            "main": None,
        }
        for code in np.unique(track.kind)
    ]


def _turns(track: Tracks) -> list[float]:
    """Begin a turn where a person speaks."""
    spoken = np.flatnonzero(track.kind == KINDS.index("human"))
    few = track.clock and 1 < len(spoken) <= MOST_TURNS
    return [round(float(at), 3) for at in track.start[spoken]] if few else []


def _notes(track: Tracks, info: Mapping[str, Any]) -> list[dict[str, str]]:
    notes = []
    if not len(track):
        running = info.get("status") in {"running", "waiting"}
        text = "Run the cell again as events arrive." if running else "The run recorded none."
        notes.append({"tone": "", "head": "No steps yet.", "text": text})
    elif not track.clock:
        text = "This source records no times, so width means nothing here."
        notes.append({"tone": "", "head": "Drawn in order.", "text": text})
    if info.get("health") in {"gap", "incomplete"}:
        health = info["health"]
        text = f"What came is shown; the run's health is {health}."
        head = "A writer has not delivered all its events."
        notes.append({"tone": "warn", "head": head, "text": text})
    return notes


def _code(info: Mapping[str, Any]) -> dict[str, str]:
    """Lines to paste into a cell; the browser fills in the place."""
    run = f"run = wb.open().run({str(info['run_id'])!r})\n" if info.get("run_id") else ""
    return {
        "call": run + "run.calls.filter(seq={seq})",
        "step": run + "run.steps.filter(seq={seq})",
        "calls": run + "run.calls.filter(pl.col('seq').is_in([{seq}]))",
        "fork": run
        + 'fork = wb.fork(run, at={seq}, edits={"outcome": ...}, agent=agent)\nfork.plan()',
    }


def _label(track: Tracks, errors: int) -> str:
    failed = f", {errors:,} {'error' if errors == 1 else 'errors'}" if errors else ""
    lanes = f"{len(track.lanes)} {'lane' if len(track.lanes) == 1 else 'lanes'}"
    return f"Timeline of {len(track):,} steps in {lanes}{failed}. Arrow keys move between steps."
