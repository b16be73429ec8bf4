"""The timeline where nothing runs: escaped html with a picture and a table, and one line of text.

Equal runs give equal bytes: no ids of models, no clock.
"""

from __future__ import annotations

import base64
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.widgets.figures import dollars, duration
from workbench.widgets.picture import WIDTH, picture

if TYPE_CHECKING:
    from collections.abc import Mapping

    import polars as pl

    from workbench.widgets.tracks import Tracks

SUMMARY = ("calls", "aligned", "only in A", "only in B", "took", "cost")
MOST_ROWS = 120
MOST_TEXT = 120
COLUMNS = ("#", "kind", "name", "lane", "status", "took", "tokens in", "tokens out", "cost")
FONT = "font:13px system-ui,sans-serif;color:#212121;background:#fff"


def summary(track: Tracks, facts: Mapping[str, Any]) -> str:
    """Say the run in one line, as `repr` does."""
    told = {figure["label"]: figure["text"] or "unknown" for figure in facts["figures"]}
    errors = f", errors={facts['errors']:,}" if facts["errors"] else ""
    shown = [(label, told[label]) for label in SUMMARY if label in told]
    rest = "".join(f", {label.replace(' ', '_')}={text}" for label, text in shown)
    return f"Timeline({facts['title']!r}, steps={len(track):,}{errors}{rest})"


def html(track: Tracks, facts: Mapping[str, Any], *, by: str, lanes: str) -> str:
    """Return the static form."""
    axis = by if by != "cost" else ("time" if track.clock else "order")
    return (
        f'<div class="wb-static" style="{FONT}">'
        f"{_head(facts)}{_notes(facts)}{_image(track, facts, by=axis, lanes=lanes)}"
        f"{_table(track)}</div>"
    )


def _head(facts: Mapping[str, Any]) -> str:
    status = facts["status"]["text"] if facts["status"] else ""
    chips = " · ".join(chip["text"] for chip in facts["chips"])
    told = " · ".join(
        f"{figure['label']} "
        + (f"<b>{escape(figure['text'])}</b>" if figure["text"] else "<i>unknown</i>")
        for figure in facts["figures"]
    )
    kinds = " · ".join(f"{kind} {count:,}" for kind, count in facts["kinds"])
    failed = f" · <b>{facts['errors']:,} failed</b>" if facts["errors"] else ""
    words = " · ".join(filter(None, (status, chips)))
    return (
        f'<p style="margin:4px 0"><b style="font-size:15px">{escape(facts["title"])}</b> '
        f'{escape(words)}<br>{told}<br><span style="color:#5a5f66">{kinds}</span>{failed}</p>'
    )


def _notes(facts: Mapping[str, Any]) -> str:
    return "".join(
        f'<p style="margin:4px 0"><b>{escape(note["head"])}</b> {escape(note["text"])}</p>'
        for note in facts["notes"]
    )


def _image(track: Tracks, facts: Mapping[str, Any], *, by: str, lanes: str) -> str:
    if not len(track):
        return ""
    data = base64.b64encode(picture(track, facts, by=by, lanes=lanes)).decode("ascii")
    return (
        f'<img alt="{escape(facts["label"].split(". ")[0])}" width="{WIDTH}" '
        f'style="max-width:100%;height:auto" src="data:image/png;base64,{data}">'
    )


def listed(track: Tracks) -> pl.DataFrame:
    """Return the steps of the table: all of them, or every error first and then the longest."""
    if len(track) <= MOST_ROWS:
        return track.frame
    weight = np.nan_to_num(track.took) + np.where(track.failed, np.float32(1e30), np.float32(0))
    index = np.argpartition(weight, -MOST_ROWS)[-MOST_ROWS:]
    return track.frame[np.sort(index)]


def _table(track: Tracks) -> str:
    if not len(track):
        return ""
    shown = listed(track)
    some = f"{len(shown):,} of " if len(shown) < len(track) else ""
    rest = ": errors first, then the longest" if some else ""
    head = "".join(f'<th style="text-align:left;padding:2px 8px">{name}</th>' for name in COLUMNS)
    body = "".join(_row(row) for row in shown.iter_rows(named=True))
    return (
        f"<details><summary>{some}{len(track):,} steps{rest}</summary>"
        f'<table style="font-size:12px;border-collapse:collapse"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></details>"
    )


def _row(row: Mapping[str, Any]) -> str:
    status = "✕ error" if row["status"] == "error" else row["status"]
    cells = (
        row["seq"],
        row["kind"] or "structure",
        row["name"],
        row["lane"],
        status,
        duration(row["duration_ms"]),
        row["input_tokens"],
        row["output_tokens"],
        dollars(row["cost_usd"]),
    )
    return "<tr>" + "".join(_cell(cell) for cell in cells) + "</tr>"


def _cell(value: Any) -> str:
    if value is None:
        return '<td style="padding:2px 8px"><i>unknown</i></td>'
    text = f"{value:,}" if isinstance(value, int) else str(value)
    short = text if len(text) <= MOST_TEXT else text[: MOST_TEXT - 1] + "…"
    return f'<td style="padding:2px 8px">{escape(short)}</td>'
