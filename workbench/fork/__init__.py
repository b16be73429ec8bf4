"""Forking: change one recorded outcome, run the same agent again, and see what follows."""

from __future__ import annotations

from workbench.fork.plan import Plan
from workbench.fork.verb import Fork, fork

__all__ = ["Fork", "Plan", "fork"]
