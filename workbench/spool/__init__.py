"""What recordings wrote, on this machine's disk until a store has acknowledged it."""

from workbench.spool.delivery import Delivery, Destination
from workbench.spool.folder import SpoolFolder
from workbench.spool.header import Header
from workbench.spool.line import Line
from workbench.spool.segment import Segment

__all__ = ["Delivery", "Destination", "Header", "Line", "Segment", "SpoolFolder"]
