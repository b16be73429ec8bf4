"""An example agent: the customer-service desk of an invented shop for refurbished electronics.

``agent`` is a LangGraph graph with no trace of the workbench in it. It works offline: its model
picks among plausible moves and phrasings at a temperature above 0, so two live runs of one input
differ, and its tools read the clock, make uuids and fail now and then.
"""

from workbench.examples.support_desk.cases import CaseFile, draw_case
from workbench.examples.support_desk.graph import agent, build
from workbench.examples.support_desk.tools import EFFECTS

__all__ = ["EFFECTS", "CaseFile", "agent", "build", "draw_case"]
