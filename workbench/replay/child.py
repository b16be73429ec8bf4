"""The child of an isolated replay: an order comes in by standard input, the answer goes out."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from importlib import import_module
from typing import Any

import msgspec

from workbench import hashing
from workbench import recording as recordings
from workbench.capture import agents, code, values
from workbench.capture.journal import Journal
from workbench.errors import WorkbenchError
from workbench.replay import sealing
from workbench.replay.playing import play
from workbench.schema import Event, parse_event


class Kept:
    """Keeps what a journal appends, in memory."""

    run_id = ""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.bodies: dict[str, Any] = {}

    def append(self, events: Any, bodies: Any = None) -> None:
        """Take a batch."""
        self.events += list(events)
        self.bodies.update(bodies or {})

    def close(self) -> None:
        """Nothing is open."""


def answer(order: dict[str, Any]) -> dict[str, Any]:
    """Play what was ordered and return it as JSON."""
    source = recordings.read([parse_event(e.encode()) for e in order["events"]], order["bodies"])
    agent = agents.find_agent(order["agent"])
    module, _, factory = order["session"].partition(":")
    kept = Kept()
    session = getattr(import_module(module), factory)(Journal(kept), source, order["options"])
    now = code.fingerprint(agent.target, entry_point=agent.entry_point)
    played = play(session, source, agent, now=now)
    return {
        "mode": played.mode,
        "identical": played.identical,
        "divergences": [values.freeze(found.as_dict())[0] for found in played.divergences],
        "notices": [values.freeze(found.as_dict())[0] for found in played.notices],
        "answered": [asdict(row) for row in played.answered],
        "unconsumed": played.unconsumed,
        "normalisers": played.normalisers,
        "renamed": played.renamed,
        "output": values.freeze(played.output)[0],
        "events": [msgspec.json.encode(event).decode() for event in kept.events],
        "bodies": kept.bodies,
    }


def main() -> None:
    """Answer one order, with no way out."""
    sealing.seal()
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what the agent prints must not mix with the answer
    order = msgspec.json.decode(sys.stdin.buffer.read())
    sys.path[:] = order["path"]
    try:
        found = answer(order)
    except WorkbenchError as error:
        found = {"problem": error.as_problem()}
    out.write(hashing.dumps(values.freeze(found)[0]))
    out.close()


if __name__ == "__main__":
    main()
