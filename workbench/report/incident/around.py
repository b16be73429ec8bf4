"""The runs around it: how far the trouble reaches, what the run cost and how long it took."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from workbench import charts
from workbench.report import figures
from workbench.report.markup import Html, Section, code, el, join, section, unknown
from workbench.report.verdict import OUTCOME_LABELS, labels_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from workbench.report.incident.gather import Incident

_MOST_GROUPS = 14
_GROUPED_BY = (
    "intent",
    "attack",
    "injection_task",
    "suite",
    "domain",
    "variant",
    "model",
    "prompt",
    "channel",
)


def row(label: Any, chart: Html | None, value: Any, note: str) -> Html:
    """Return one row of a figure: label | chart | value and denominator."""
    said = el("span", el("b", value), " ", el("small", note), class_="v")
    return el("div", el("span", label), chart or el("span"), said, class_="wb-row", role="listitem")


def axis(*labels: str) -> Html:
    """Return the row under a figure that says what its axis means."""
    ticks = el("span", *(el("span", label) for label in labels), class_="wb-axis")
    return el(
        "div", el("span"), ticks, el("span", class_="v"), class_="wb-row ax", aria_hidden="true"
    )


def figure(title: str, note: str, *rows: Any) -> Html:
    """Return a figure with its title and what its marks mean."""
    caption = el("figcaption", el("b", title), " ", el("span", note))
    return el("figure", caption, el("div", *rows, role="list"))


# ---- how far it reaches


def reach(found: Incident) -> Section:
    """Return how many runs went wrong, by label, and which calls failed in how many runs."""
    total, bad = found.peers.height, int(found.peers["bad"].sum())
    words = join(
        el("b", figures.of(bad, total)),
        f" runs of {found.agent} went wrong ({found.window}). A run counts when it failed or when a"
        " label says so; an error inside a run that ended well does not.",
    )
    shares = [_by_label(found, key) for key in _groupings(found)]
    return section(
        "How far it reaches", el("p", words), *_reasons(found), *shares, _failures(found)
    )


def _reasons(found: Incident) -> list[Html]:
    counted = (
        found.peers.explode("reasons")
        .drop_nulls("reasons")
        .group_by("reasons")
        .len()
        .sort(["len", "reasons"], descending=[True, False])
    )
    if counted.is_empty():
        return []
    total = found.peers.height
    rows = [
        row(
            reason,
            _svg(charts.bar(count, of=total), f"{count} of {total} runs"),
            figures.plural(count, "run"),
            f"of {total:,}",
        )
        for reason, count in counted.iter_rows()
    ]
    return [figure("What went wrong", "runs, counted; a run can stand in several rows", *rows)]


def _groupings(found: Incident) -> list[str]:
    """Return the labels that split the window into a few groups of some size."""
    labels = [labels_of(r) for r in found.peers.iter_rows(named=True)]
    chosen = []
    for key in _GROUPED_BY:
        values = {str(_value(said, key)) for said in labels}
        if key not in OUTCOME_LABELS and 1 < len(values) <= _MOST_GROUPS:
            chosen.append(key)
    return chosen[:3]


def _value(labels: dict[str, Any], key: str) -> str:
    value = labels.get(key)
    return "none" if value is None else str(value)


def _by_label(found: Incident, key: str) -> Html:
    named = [_value(labels_of(r), key) for r in found.peers.iter_rows(named=True)]
    groups = (
        found.peers.with_columns(pl.Series("group", named))
        .group_by("group")
        .agg(bad=pl.col("bad").sum().cast(pl.Int64), runs=pl.len())
        .pipe(charts.shares, hits="bad", total="runs")
        .sort(["share", "runs", "group"], descending=[True, True, False])
    )
    mine = _value(labels_of(found.run.info), key)
    rows = [
        _share_row(group, mine=group["group"] == mine) for group in groups.iter_rows(named=True)
    ]
    note = "share of runs that went wrong, with its exact 95 % interval"
    return figure(f"By {key.replace('_', ' ')}", note, *rows, axis("0", "50", "100 %"))


def _share_row(group: dict[str, Any], *, mine: bool) -> Html:
    share, low, high = (group[k] for k in ("share", "low", "high"))
    label = (
        f"{group['group']}: {figures.percent(share)}, from {figures.percent(low)} to "
        f"{figures.percent(high)}, {figures.of(group['bad'], group['runs'])} runs"
    )
    chart = _svg(charts.interval(share=share, low=low, high=high), label)
    name = el("b", group["group"]) if mine else group["group"]
    return row(name, chart, figures.percent(share), figures.of(group["bad"], group["runs"]))


def _failures(found: Incident) -> Html | None:
    """Count the runs in which a call failed, by the call's name."""
    mine = found.run.calls.with_columns(run_id=pl.lit(found.run.run_id), bad=pl.lit(True))
    calls = pl.concat([found.neighbours, mine.select(found.neighbours.columns)])
    runs = calls["run_id"].n_unique()
    counted = (
        calls.filter(pl.col("status") == "error")
        .group_by("name")
        .agg(runs=pl.col("run_id").n_unique())
        .sort(["runs", "name"], descending=[True, False])
        .head(_MOST_GROUPS)
    )
    if counted.is_empty():
        return None
    failing = set(found.run.calls.filter(pl.col("status") == "error")["name"])
    rows = [
        row(
            code(name),
            _svg(charts.bar(n, of=runs, marked=name in failing), f"{n} of {runs} runs"),
            figures.plural(n, "run"),
            f"of {runs}",
        )
        for name, n in counted.iter_rows()
    ]
    note = f"runs with such a failure among the {runs} read call by call; coloured: in this run too"
    return figure("Calls that failed", note, *rows)


# ---- cost and latency


def costs(found: Incident) -> Section:
    """Return time, cost, tokens and calls of the run among the runs of the window."""
    peers = found.peers.with_columns(
        tokens=_known_tokens("input_tokens") + _known_tokens("output_tokens")
    )
    rows = [_measure(found, peers, *measure) for measure in _MEASURES]
    note = "one line a run; blue is this run, the taller line the median"
    unknown_cost = peers["cost_usd"].null_count()
    said = [_total(peers)]
    if unknown_cost:
        said.append(
            f"The cost of {figures.of(unknown_cost, peers.height)} runs is unknown; unknown is not"
            " zero, so they are in no sum and no median."
        )
    words = [el("p", text) for text in said if text]
    return section("Cost and latency", *words, figure("This run among the others", note, *rows))


def _known_tokens(column: str) -> pl.Expr:
    """Read no tokens at all as unknown where a model was called."""
    return pl.when((pl.col(column) > 0) | (pl.col("model_calls") == 0)).then(pl.col(column))


_MEASURES: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("took", "duration_ms", figures.duration),
    ("cost", "cost_usd", figures.money),
    ("tokens", "tokens", figures.quantity),
    ("model calls", "model_calls", figures.quantity),
    ("tool calls", "tool_calls", figures.quantity),
    ("errors", "errors", figures.quantity),
)


def _measure(
    found: Incident, peers: pl.DataFrame, label: str, column: str, said: Callable[[float], str]
) -> Html:
    known = peers[column].drop_nulls()
    mine = peers.filter(run_id=found.run.run_id)[column]
    value = mine[0] if len(mine) else None
    why = (
        f"the source does not say what this run {label}" if label == "took" else "not in the source"
    )
    shown = unknown(why) if value is None else said(value)
    if known.is_empty():
        return row(label, None, shown, f"in all {peers.height:,}")
    end = charts.upper(float(known.max() or 0))  # type: ignore[arg-type] # a number column
    median = said(float(known.median() or 0))  # type: ignore[arg-type]
    words = f"{label}: this run {shown if value is not None else 'unknown'}, median {median}"
    chart = _svg(charts.ticks(peers, value=column, end=end, marked=value), words)
    note = f"median {median}"
    if len(known) < peers.height:
        note += f", {figures.of(len(known), peers.height)} known"
    return row(label, join(el("div", chart, axis_under("0", said(end)))), shown, note)


def axis_under(*labels: str) -> Html:
    """Return the ends of an axis, right under its chart."""
    return el(
        "span", *(el("span", label) for label in labels), class_="wb-axis", aria_hidden="true"
    )


def _total(peers: pl.DataFrame) -> str | None:
    known = peers["cost_usd"].drop_nulls()
    if known.is_empty():
        return None
    total = figures.money(float(known.sum()))
    return (
        f"The {figures.of(len(known), peers.height)} runs with a known cost took {total} together."
    )


def _svg(chart: Any, label: str) -> Html:
    return Html(charts.to_svg(chart, label=label))
