"""The incident report: what failed, since when it differs, how far it reaches, where to look next.

Every function takes what `gather` found and returns one section of the report::

    found = incident.gather(run="01a2…", store="datasets/support_desk")
    incident.headline(found)
"""

from workbench.report.incident.actions import actions
from workbench.report.incident.around import costs, reach
from workbench.report.incident.divergence import divergence
from workbench.report.incident.gather import Incident, gather
from workbench.report.incident.headline import headline
from workbench.report.incident.origin import origin
from workbench.report.incident.story import moments, story, timeline

__all__ = [
    "Incident",
    "actions",
    "costs",
    "divergence",
    "gather",
    "headline",
    "moments",
    "origin",
    "reach",
    "story",
    "timeline",
]
