"""A server with one fault in it, for the twins that have to fail: ``broken.py FAULT serve …``."""

from __future__ import annotations

import json
import sys
from collections import defaultdict, deque

from workbench_server import ingest
from workbench_server.command import main
from workbench_server.routes import events

from workbench.errors import WorkbenchError

_held = defaultdict(deque)


def _all_well(data):
    sent = json.loads(data)["events"]
    return {
        "accepted": len(sent), "duplicates": 0, "first_seq": None, "last_seq": None, "rejected": [],
    }  # fmt: skip


async def _early(*arguments, data, **keywords):
    """Answer before the commit: a writer's batch is stored when it has sent two more."""
    waiting = _held[json.loads(data)["events"][0]["writer"]]
    waiting.append((arguments, keywords | {"data": data}))
    if len(waiting) > 2:
        earlier, named = waiting.popleft()
        await ingest.append(*earlier, **named)
    return _all_well(data)


async def _deaf(*arguments, data, **keywords):
    """Answer that all is well, whatever became of it."""
    try:
        return await ingest.append(*arguments, data=data, **keywords)
    except WorkbenchError as error:
        print("passed over", error, file=sys.stderr, flush=True)
        return _all_well(data)


if __name__ == "__main__":
    fault = sys.argv.pop(1)
    events.append = {"early": _early, "deaf": _deaf}[fault]
    sys.exit(main())
