"""The kinds of steps in their fixed order: code, colour on a light ground, glyph.

A kind's code is its place in `KINDS`; the last is structure, a step that is not a call.
"""

from __future__ import annotations

from workbench import schema

KINDS: tuple[str, ...] = (*schema.KINDS, "step")
STRUCTURE = len(KINDS) - 1
STATUSES: tuple[str, ...] = ("ok", "error", "running", "cancelled", "failed inside")
INSIDE = len(STATUSES) - 1
EFFECTS: tuple[str, ...] = ("", "pure", "read", "write", "irreversible", "unknown")
QUALITIES: tuple[str, ...] = ("", "full", "redacted", "truncated", "reconstructed", "lossy")

OUTSIDE = "#7b7b7b"
ACTOR = "#1f1f1f"
CHECK = "#9a8439"
COLOURS: dict[str, str] = {
    "model": "#3f7fc4",
    "tool": "#8a4700",
    "retriever": "#00654a",
    "planner": "#7d2a93",
    "validator": CHECK,
    "safety": CHECK,
    "http": OUTSIDE,
    "clock": OUTSIDE,
    "random": OUTSIDE,
    "env": OUTSIDE,
    "human": ACTOR,
    "agent": ACTOR,
    "step": "#9aa0a8",
}
