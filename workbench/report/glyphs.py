"""The signs of the kinds of calls, read from the one file that the widgets draw them from."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

_ENTRY = re.compile(r'^  (\w+): ("[^"]*"(?:\s*\+ "[^"]*")*),$', re.MULTILINE)


@cache
def glyphs() -> dict[str, str]:
    """Return kind → path in a box of 12 by 12, filled even-odd."""
    text = (files("workbench.widgets") / "glyphs.js").read_text(encoding="utf-8")
    return {kind: "".join(re.findall(r'"([^"]*)"', path)) for kind, path in _ENTRY.findall(text)}
