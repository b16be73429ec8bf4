"""What the calls of a run cost, by name, dearest first. Unknown is never counted as nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from workbench.widgets import figures

if TYPE_CHECKING:
    from workbench.widgets.tracks import Tracks

MOST_NAMES = 40
MOST_BLOCKS = 60
PRICED = ("model", "agent")


def costs(track: Tracks) -> dict[str, Any]:
    """Return a row for each name, its calls as blocks; the unit is what the source tells."""
    calls = track.frame.filter(pl.col("kind").is_not_null())
    unit = _unit(calls)
    named = by_name(calls, unit)
    total = float(named["total"].sum())
    rows = [_row(row, unit, total) for row in named.head(MOST_NAMES).iter_rows(named=True)]
    return {
        "unit": unit,
        "words": _words(calls, unit),
        "rows": rows,
        "finding": _finding(rows, unit, len(named)),
    }


def by_name(calls: pl.DataFrame, unit: str) -> pl.DataFrame:
    """Group calls by kind and name: calls, total, unknown and the sizes of single calls."""
    asked = pl.col("asked") if "asked" in calls.columns else pl.lit(None, pl.String)
    free = ~pl.col("kind").is_in(PRICED) & pl.col("size").is_null()
    together = pl.format("all {} calls", "kind")
    name = pl.when(free).then(together).otherwise(pl.coalesce(asked, "name", "kind"))
    return (
        calls.with_columns(_size(unit))
        .with_columns(name.alias("name"))
        .group_by("kind", "name", maintain_order=True)
        .agg(
            pl.len().alias("calls"),
            pl.col("size").sum().alias("total"),
            pl.col("size").null_count().alias("unknown"),
            pl.col("size").drop_nulls().sort(descending=True).alias("sizes"),
            pl.col("seq").sort_by("size", descending=True, nulls_last=True).alias("seqs"),
        )
        .sort("total", "calls", descending=True, maintain_order=True)
    )


def _unit(calls: pl.DataFrame) -> str:
    if calls["cost_usd"].count():
        return "cost"
    tokens = calls["input_tokens"].count() + calls["output_tokens"].count()
    return "tokens" if tokens else "calls"


def _size(unit: str) -> pl.Expr:
    tokens = pl.sum_horizontal("input_tokens", "output_tokens", ignore_nulls=True)
    told = pl.any_horizontal(
        pl.col("input_tokens").is_not_null(), pl.col("output_tokens").is_not_null()
    )
    size = {
        "cost": pl.col("cost_usd"),
        "tokens": pl.when(told).then(tokens),
        "calls": pl.lit(1.0),
    }[unit]
    return size.cast(pl.Float64).alias("size")


def _row(row: dict[str, Any], unit: str, total: float) -> dict[str, Any]:
    sizes = row["sizes"]
    blocks = sizes[:MOST_BLOCKS]
    if len(sizes) > MOST_BLOCKS:
        blocks.append(sum(sizes[MOST_BLOCKS:]))
    unknown = row["unknown"] == row["calls"]
    share = f"{row['total'] / total:.0%}".replace("%", " %") if total and not unknown else None
    return {
        "kind": row["kind"],
        "name": row["name"],
        "calls": row["calls"],
        "total": row["total"],
        "blocks": [round(size, 6) for size in blocks if size],
        "amount": _amount(row, unit, unknown=unknown),
        "share": share,
        "seqs": row["seqs"][:MOST_BLOCKS],
        "why": _why(row, unit),
        "words": f"{row['calls']:,} {row['kind']} calls: {row['name']}",
    }


def _amount(row: dict[str, Any], unit: str, *, unknown: bool) -> str | None:
    if unknown:
        return None if row["kind"] in PRICED else ""
    text = {"cost": figures.dollars, "tokens": figures.big}.get(unit, "{:,.0f}".format)(
        row["total"]
    )
    return f"{text} + unknown" if row["unknown"] and row["kind"] in PRICED else str(text)


def _why(row: dict[str, Any], unit: str) -> str:
    if row["kind"] in PRICED:
        return f"{row['unknown']:,} of {row['calls']:,} calls have no known {unit}"
    return "no price: this kind costs nothing by itself"


def _words(calls: pl.DataFrame, unit: str) -> str:
    asked = "model calls by what they asked for; " if "asked" in calls.columns else ""
    return f"{asked}one block a call, {'dearest' if unit == 'cost' else 'largest'} first"


def _finding(rows: list[dict[str, Any]], unit: str, names: int) -> str:
    if not rows:
        return "No calls."
    first = rows[0]
    left = f" {names - len(rows):,} more names are not shown." if names > len(rows) else ""
    if unit == "calls":
        return f"Neither prices nor tokens are known; width is the number of calls.{left}"
    took = "cost" if unit == "cost" else "tokens"
    calls = f"{first['calls']:,} {first['kind']} calls"
    return f"{calls}, {first['name']}, took {first['share']} of the {took}.{left}"
