"""The design's colours as a chart names them.

Vega wants literal colours, a page wants tokens that follow its theme: each token has a literal that
no other has, and the finished SVG gets the token in its place.
"""

from __future__ import annotations

INK, INK_2, LINE, LINE_2 = "#1f1f1e", "#5a5f66", "#e0e0e1", "#b9bcc1"
ACCENT, ERROR, GROUND = "#1976d2", "#e84d0c", "#fffffe"

TOKENS = {
    INK: "--wb-ink",
    INK_2: "--wb-ink-2",
    LINE: "--wb-line",
    LINE_2: "--wb-line-2",
    ACCENT: "--wb-accent",
    ERROR: "--wb-error-mark",
    GROUND: "--wb-bg",
}
"""Literal → custom property of the design's style sheet."""


def themed(svg: str) -> str:
    """Replace each literal by its token, with the literal for pages that have no style sheet."""
    for literal, token in TOKENS.items():
        svg = svg.replace(f'"{literal}"', f'"var({token}, {literal})"')
    return svg
