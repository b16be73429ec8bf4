"""Replaying: an agent's real code, answered from a recording, and how faithful that was."""

from __future__ import annotations

from workbench.replay.divergence import Divergence
from workbench.replay.drift import drift
from workbench.replay.result import ReplayResult
from workbench.replay.verb import replay

__all__ = ["Divergence", "ReplayResult", "drift", "replay"]
