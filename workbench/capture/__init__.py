"""Recording: the interception of an agent's calls, and the verb that keeps them."""

from __future__ import annotations

from workbench.capture import ahead  # noqa: F401 - before the others, which load it too
from workbench.capture.context import context
from workbench.capture.decorators import model, planner, retriever, safety, tool, validator
from workbench.capture.effects import tool_effects
from workbench.capture.functions import call, root
from workbench.capture.loop import loop
from workbench.capture.record import RecordingWarning, record
from workbench.capture.shims import clock, env, random, uuid4
from workbench.capture.steps import step

__all__ = [
    "RecordingWarning",
    "call",
    "clock",
    "context",
    "env",
    "loop",
    "model",
    "planner",
    "random",
    "record",
    "retriever",
    "root",
    "safety",
    "step",
    "tool",
    "tool_effects",
    "uuid4",
    "validator",
]
