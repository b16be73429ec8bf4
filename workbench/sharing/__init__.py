"""What a run says many times is written once: its conversation, in what is asked and given back."""

from __future__ import annotations

from workbench.sharing.outputs import OutputFolding, OutputUnfolding, renamed, with_bodies
from workbench.sharing.requests import (
    REFERENCE,
    Folding,
    Unfolding,
    beginning_is_sound,
    is_folded,
    lacks_beginning,
    named,
)

__all__ = [
    "REFERENCE",
    "Folding",
    "OutputFolding",
    "OutputUnfolding",
    "Unfolding",
    "beginning_is_sound",
    "is_folded",
    "lacks_beginning",
    "named",
    "renamed",
    "with_bodies",
]
