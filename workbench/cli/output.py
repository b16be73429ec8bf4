"""What a command prints: its answer on standard output, everything else on standard error."""

from __future__ import annotations

import json
import os
import sys
from typing import Any


def emit(document: Any, *, as_json: bool, text: str | None = None) -> bool:
    """Print the one answer of a command: the document with ``--json``, else the text for people.

    Returns whether somebody still reads.
    """
    line = json.dumps(document, ensure_ascii=False, default=str) if as_json else text
    if line is None:
        return True
    try:
        print(line, flush=True)  # noqa: T201 - standard output is where answers go
    except BrokenPipeError:
        # The reader (head, less) went away; nothing may be flushed into the closed pipe later.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    return True


def note(line: str) -> None:
    """Print progress, a warning or an error for people."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - progress goes to standard error
