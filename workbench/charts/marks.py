"""The three marks: a bar for a count, ticks for single runs, a dot with its interval."""

from __future__ import annotations

from typing import Any

import altair as alt
import polars as pl

from workbench.charts import tokens

WIDTH, HEIGHT = 408, 22


def bar(count: float, *, of: float, marked: bool = False) -> alt.LayerChart:
    """Return one bar from 0 to ``count`` on an axis that ends at ``of``."""
    colour = tokens.ERROR if marked else tokens.INK_2
    frame = pl.DataFrame({"from": [0.0], "to": [float(count)]})
    mark = alt.Chart(frame).mark_rect(color=colour, height=10)
    drawn = mark.encode(x=_x("from", of), x2="to", y=_middle())
    return _row(_rail(of, ends=(0.0,)), drawn)


def ticks(
    frame: pl.DataFrame, *, value: str, end: float, marked: float | None = None
) -> alt.LayerChart:
    """Return one thin line a run, a taller one for the median, and in accent the run in question.

    Parameters
    ----------
    frame
        One row per run; rows with a null value are left out (say so beside the chart).
    value
        The column to draw.
    end
        Where the axis ends; it starts at 0.
    marked
        The value of the run in question.
    """
    known = frame.select(pl.col(value).cast(pl.Float64).alias("value")).drop_nulls()
    middle = known.select(pl.col("value").median())
    layers: list[Any] = [
        _rail(end, ends=(0.0, end)),
        _rule(known, end, colour=tokens.INK, size=12, width=1, opacity=0.35),
        _rule(middle, end, colour=tokens.INK, size=20, width=1.6),
    ]
    if marked is not None:
        one = pl.DataFrame({"value": [float(marked)]})
        layers.append(_rule(one, end, colour=tokens.ACCENT, size=20, width=3))
    return _row(*layers)


def interval(*, share: float, low: float, high: float, filled: bool = True) -> alt.LayerChart:
    """Return a dot at ``share`` with its interval, on an axis from 0 to 1."""
    frame = pl.DataFrame({"share": [share], "low": [low], "high": [high]})
    line = alt.Chart(frame).mark_rule(color=tokens.INK, strokeWidth=1.6)
    dot = alt.Chart(frame).mark_point(
        shape="circle",
        size=50,
        filled=True,
        fill=tokens.INK if filled else tokens.GROUND,
        stroke=tokens.INK,
        strokeWidth=1.6,
        opacity=1,
    )
    return _row(
        _rail(1.0, ends=(0.0, 0.5, 1.0)),
        line.encode(x=_x("low", 1.0), x2="high", y=_middle()),
        dot.encode(x=_x("share", 1.0), y=_middle()),
    )


def _x(column: str, end: float) -> alt.X:
    scale = alt.Scale(domain=[0, end], nice=False, clamp=True, padding=0)
    return alt.X(f"{column}:Q", scale=scale, axis=None)


def _middle() -> Any:
    return alt.value(HEIGHT / 2)


def _rail(end: float, *, ends: tuple[float, ...]) -> Any:
    base = pl.DataFrame({"from": [0.0], "to": [float(end)]})
    line = (
        alt.Chart(base).mark_rule(color=tokens.LINE).encode(x=_x("from", end), x2="to", y=_middle())
    )
    stops = pl.DataFrame({"value": [float(stop) for stop in ends]})
    return alt.layer(line, _rule(stops, end, colour=tokens.LINE_2, size=14, width=1))


def _rule(
    frame: pl.DataFrame, end: float, *, colour: str, size: float, width: float, opacity: float = 1
) -> Any:
    mark = alt.Chart(frame).mark_tick(
        color=colour, size=size, thickness=width, opacity=opacity, orient="vertical"
    )
    return mark.encode(x=_x("value", end), y=_middle())


def _row(*layers: Any) -> alt.LayerChart:
    drawn: alt.LayerChart = (
        alt.layer(*layers)
        .properties(
            width=WIDTH, height=HEIGHT, padding={"left": 4, "right": 4, "top": 0, "bottom": 0}
        )
        .configure(background="transparent", aria=False, view={"stroke": "transparent"})
    )
    return drawn
