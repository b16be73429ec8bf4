"""Followers of runs: told of each commit at once, by the table within a second at the latest."""

from workbench_server.live.hub import Hub
from workbench_server.live.pace import Pace

__all__ = ["Hub", "Pace"]
