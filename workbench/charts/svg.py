"""Draw altair charts as SVG, in this process: no browser and no network."""

from __future__ import annotations

import html
import re
from typing import Any

import altair as alt

from workbench.charts.tokens import themed

_HEAD = re.compile(r"<svg[^>]*?viewBox=\"([^\"]*)\"[^>]*>")


def to_svg(chart: alt.TopLevelMixin, *, label: str) -> str:
    """Return the chart as inline SVG that fills its box and follows the page's theme.

    Parameters
    ----------
    chart
        Any altair chart.
    label
        What a screen reader says: the numbers, as words.
    """
    import vl_convert

    drawn = str(vl_convert.vegalite_to_svg(chart.to_dict(format="vega-lite", validate=False)))
    named = html.escape(label, quote=True)
    return themed(
        _HEAD.sub(rf'<svg viewBox="\1" role="img" aria-label="{_safe(named)}">', drawn, count=1)
    )


def _safe(replacement: str) -> str:
    return replacement.replace("\\", "\\\\")


def use_svg() -> Any:
    """Make altair show charts as SVG, which works offline and in saved notebooks."""
    return alt.renderers.enable("svg")
