"""A recorded run as an index for replay: lanes of calls, what each asked and what came back.

Events and bodies go in one by one, and calls come out one by one: what is not looked at is not in
memory. No store is known here; the one file is a temporary one.
"""

from workbench.recording.calls import NEVER, Calls, RecordedCall
from workbench.recording.reader import HEARD, ROOT, Reader, read
from workbench.recording.recording import Problem, Recording, Resume
from workbench.recording.roots import LogRoot
from workbench.recording.shelf import Pool, Shelf

__all__ = [
    "HEARD",
    "NEVER",
    "ROOT",
    "Calls",
    "LogRoot",
    "Pool",
    "Problem",
    "Reader",
    "RecordedCall",
    "Recording",
    "Resume",
    "Shelf",
    "read",
]
