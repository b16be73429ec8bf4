"""Frames of a run: pure functions from polars frames to polars frames."""

from workbench.frames.columns import (
    ARTIFACTS,
    CALLS,
    EVENTS,
    RUNS,
    SESSIONS,
    STEPS,
    TIMELINE,
    Columns,
    fitted,
)
from workbench.frames.coverage import Coverage, coverage
from workbench.frames.events import from_events, to_events
from workbench.frames.messages import MESSAGES
from workbench.frames.pairs import FAILED, calls, steps
from workbench.frames.recorded import heard, recorded
from workbench.frames.root import root_body, root_input, root_output, step_outputs
from workbench.frames.roots import content_root, log_root
from workbench.frames.totals import Totals, run_row
from workbench.frames.written import Written, written

__all__ = [
    "ARTIFACTS",
    "CALLS",
    "EVENTS",
    "FAILED",
    "MESSAGES",
    "RUNS",
    "SESSIONS",
    "STEPS",
    "TIMELINE",
    "Columns",
    "Coverage",
    "Totals",
    "Written",
    "calls",
    "content_root",
    "coverage",
    "fitted",
    "from_events",
    "heard",
    "log_root",
    "recorded",
    "root_body",
    "root_input",
    "root_output",
    "run_row",
    "step_outputs",
    "steps",
    "to_events",
    "written",
]
