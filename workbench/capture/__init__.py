"""Recording: the interception of an agent's calls, and the verb that keeps them."""

from __future__ import annotations

from workbench.capture.effects import tool_effects
from workbench.capture.functions import call, root
from workbench.capture.record import RecordingWarning, record

__all__ = ["RecordingWarning", "call", "record", "root", "tool_effects"]
