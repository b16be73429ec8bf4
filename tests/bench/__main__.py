"""Measure the product on the machine at hand: ``make bench``, or ``python tests/bench [NAME …]``.

Each figure is a line of JSON on standard output, beside its baseline of the same run; what is
being done goes to standard error.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from pathlib import Path

from figure import say
from stack import running

_HELPERS = {
    *("__main__", "bare", "figure", "stack", "load", "events", "sampled", "capturing"),
    *("replayed", "replayed_graph", "replaying"),
}


def names() -> list[str]:
    """Return what can be measured: the modules beside this one that have ``figures(stack)``."""
    found = {path.stem for path in Path(__file__).parent.glob("*.py")}
    return sorted(found - _HELPERS)


def main(wanted: list[str]) -> int:
    unknown = sorted(set(wanted) - set(names()))
    if unknown:
        say(f"no such bench: {', '.join(unknown)}; there are {', '.join(names())}")
        return 2
    warnings.simplefilter("ignore", ResourceWarning)
    for name in wanted or names():
        say(f"# {name}")
        # A stack of its own each: one bench's table is not the next one's ballast.
        with running() as stack:
            for figure in importlib.import_module(name).figures(stack):
                print(figure.line(), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
