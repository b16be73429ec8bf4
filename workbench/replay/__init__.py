"""Replaying: an agent's real code, answered from a recording, and how faithful that was."""

from __future__ import annotations

from workbench.replay.bundling import bundle
from workbench.replay.divergence import Divergence
from workbench.replay.result import ReplayResult
from workbench.replay.verb import replay
from workbench.replay.verify import Verified, verify

__all__ = ["Divergence", "ReplayResult", "Verified", "bundle", "replay", "verify"]
