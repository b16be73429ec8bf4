"""The child of an isolated replay: it imports the agent itself and plays it, with no way out.

A recording and an order come in by a pipe (`pipes`); what happens goes out as it happens.
"""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from importlib import import_module
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import msgspec

from workbench import ours
from workbench.errors import NotReplayable, WorkbenchError
from workbench.replay import pipes, sealing
from workbench.replay.policy import HARMLESS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from workbench.capture.agents import Agent
    from workbench.replay.engine import Match, Question
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

    bodies = recordings.Pool()
    reader = recordings.Reader(bodies)
    order = ends.receive()
    while isinstance(order, pipes.Batch):
        for digest, body in order.bodies.items():
            bodies.put(digest, msgspec.json.encode(body))
        for event in order.events:
            reader.take(event)
        order = ends.receive()
    if not isinstance(order, pipes.Order):
        raise TypeError(f"an order was to come, not {order!r}")
    home = Home(ends)
    ours.started(home.listen, name="workbench-parent")
    source = reader.recording()
    module, _, factory = order.session.partition(":")
    options = {**order.options, "kin": home.kindred} if order.kin else order.options
    session = getattr(import_module(module), factory)(Journal(Outlet(ends)), source, options)
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
        "answered": [msgspec.structs.asdict(row) for row in played.answered],
        "unconsumed": played.unconsumed,
        "normalisers": values.freeze(played.normalisers)[0],
        "renamed": played.renamed,
        "status": played.status,
        "unwritten": played.unwritten,
        "output": values.freeze(played.output)[0],
    }


class Home:
    """Whoever ordered the replay: is asked for answers of kindred runs, and missed when gone."""

    def __init__(self, ends: pipes.Ends) -> None:
        self._ends = ends
        self._one = threading.Lock()
        self._came: SimpleQueue[pipes.Kindred] = SimpleQueue()

    def kindred(self, asked: Question, effect: str) -> Match | None:
        """Return the call of a kindred run that answers a question."""
        from workbench.replay.engine import Match

        if effect not in HARMLESS:
            return None
        with self._one:
            self._ends.send(pipes.Missed(signature=asked.signature, effect=effect))
            came = self._came.get()
        if came.call is None:
            return None
        return Match(call=came.call, level="kin", bodies=came.bodies, run_id=came.run_id)

    def listen(self) -> None:
        """Take what comes; end this process and those it started when nobody waits for it."""
        with suppress(OSError):
            try:
                while True:
                    message = self._ends.receive()
                    if isinstance(message, pipes.Kindred):
                        self._came.put(message)
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
