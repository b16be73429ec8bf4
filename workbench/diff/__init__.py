"""Compare two runs: where they first differ, and what differs in each part of them."""

from workbench.diff.align import Pair
from workbench.diff.deltas import DELTAS, SECTIONS
from workbench.diff.messages import Action, Divergence
from workbench.diff.result import ALIGNED, Diff, diff
from workbench.diff.sides import Recorded, Side

__all__ = [
    "ALIGNED",
    "DELTAS",
    "SECTIONS",
    "Action",
    "Diff",
    "Divergence",
    "Pair",
    "Recorded",
    "Side",
    "diff",
]
