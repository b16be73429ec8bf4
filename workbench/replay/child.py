"""The child of an isolated replay: it imports the agent itself and plays it, with no way out.

A recording and an order come in by a pipe (`pipes`); what happens goes out as it happens.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from dataclasses import asdict
from importlib import import_module
from typing import TYPE_CHECKING, Any

from workbench import ours
from workbench.errors import NotReplayable, WorkbenchError
from workbench.replay import pipes, sealing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from workbench.capture.agents import Agent
    from workbench.replay.playing import Played
    from workbench.schema import Event


class Outlet:
    """Sends out of the process what a journal appends."""

    run_id = ""

    def __init__(self, ends: pipes.Ends) -> None:
        self._ends = ends

    def append(self, events: Sequence[Event], bodies: Mapping[str, Any] | None = None) -> None:
        """Send a batch."""
        self._ends.send(pipes.batch(events, bodies or {}))

    def close(self) -> None:
        """Nothing is open."""


def serve(ends: pipes.Ends) -> pipes.Message:
    """Import the agent, play it as ordered, and return what is left to say."""
    from workbench.capture import agents, code

    wanted = ends.receive()
    if not isinstance(wanted, pipes.Agent):
        raise TypeError(f"an agent was to come first, not {wanted!r}")
    agent = agents.find_agent(wanted.name)
    if ends.forked:  # in the middle of being imported: what follows is not for this process
        os._exit(0)
    now = code.fingerprint(
        agent.target, entry_point=agent.entry_point, distributions=wanted.distributions
    )
    ends.send(pipes.Ready(code=now))
    return pipes.Answer(played=_told(_played(ends, agent, now)))


def _played(ends: pipes.Ends, agent: Agent, now: dict[str, Any]) -> Played:
    from workbench import recording as recordings
    from workbench.capture.journal import Journal
    from workbench.replay.playing import play

    events: list[Event] = []
    bodies: dict[str, Any] = {}
    order = ends.receive()
    while isinstance(order, pipes.Batch):
        events += order.events
        bodies.update(order.bodies)
        order = ends.receive()
    if not isinstance(order, pipes.Order):
        raise TypeError(f"an order was to come, not {order!r}")
    ours.started(lambda: _end_with(ends), name="workbench-parent")
    source = recordings.read(events, bodies)
    module, _, factory = order.session.partition(":")
    session = getattr(import_module(module), factory)(Journal(Outlet(ends)), source, order.options)
    return play(
        session,
        source,
        agent,
        now=now,
        progress=lambda done, total: ends.send(pipes.Progress(done=done, total=total)),
    )


def _told(played: Played) -> dict[str, Any]:
    from workbench.capture import values

    return {
        "mode": played.mode,
        "policy": played.policy,
        "identical": played.identical,
        "divergences": [values.freeze(found.as_dict())[0] for found in played.divergences],
        "notices": [values.freeze(found.as_dict())[0] for found in played.notices],
        "answered": [asdict(row) for row in played.answered],
        "unconsumed": played.unconsumed,
        "normalisers": values.freeze(played.normalisers)[0],
        "renamed": played.renamed,
        "status": played.status,
        "unwritten": played.unwritten,
        "output": values.freeze(played.output)[0],
    }


def _end_with(ends: pipes.Ends) -> None:
    """End this process and those it started when nobody waits for it any more."""
    with suppress(OSError):
        try:
            while True:
                ends.receive()
        except EOFError:
            os.killpg(0, signal.SIGKILL)


def main() -> None:
    """Answer one order, with no way out."""
    sealing.seal()
    ends = pipes.Ends()
    try:
        left = serve(ends)
    except WorkbenchError as error:
        left = _problem(error)
    except (SystemExit, KeyboardInterrupt) as error:
        left = _problem(
            NotReplayable(
                "the agent ended the process it was replayed in",
                found=repr(error),
                hint="let it return, or raise an exception",
            )
        )
    ends.send(left)


def _problem(error: WorkbenchError) -> pipes.Problem:
    from workbench.capture import values

    return pipes.Problem(problem=values.freeze(error.as_problem())[0])
