"""Widgets: views of runs that give back what was selected as data."""

from workbench.widgets.timeline import Timeline, timeline

__all__ = ["Timeline", "timeline"]
