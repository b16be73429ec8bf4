"""Charts of reports and notebooks: small functions from frames to altair charts, drawn as SVG.

One chart fills one row between its label and its value. Counts are bars, single runs are ticks, and
a dot always has its interval. Colours are the design's tokens, so a chart follows the page's theme.
"""

from workbench.charts.marks import bar, interval, ticks
from workbench.charts.scale import shares, upper
from workbench.charts.svg import to_svg, use_svg

__all__ = ["bar", "interval", "shares", "ticks", "to_svg", "upper", "use_svg"]
