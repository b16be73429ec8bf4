"""A replay in a child process without any network: nothing but a pipe leads out of it.

The child lives in an empty network namespace, with an environment of a few harmless variables, and
the kernel refuses it sockets that have a path (`sealing`): so no connection opened before, no C
library and no credential gets out.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from workbench.capture import agents, values
from workbench.errors import NotReplayable, WorkbenchError
from workbench.replay import sealing
from workbench.replay.divergence import Divergence
from workbench.replay.playing import Played
from workbench.replay.session import Answered
from workbench.schema import parse_event

if TYPE_CHECKING:
    from workbench.store.protocol import RunWriter
    from workbench.store.run import Run

_KEPT = ("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "PYTHONHASHSEED", "VIRTUAL_ENV")
_UNSHARE = ("unshare", "-c", "-n")
_CHILD = ("-m", "workbench.replay.child")


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What the child plays: the agent's importable name, and a session made of options."""

    agent: str
    session: str
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Away:
    """What came back from a child, as it was sent."""

    answer: dict[str, Any]


@functools.cache
def possible() -> bool:
    """Say whether this machine lets us make an empty network namespace."""
    if shutil.which("unshare") is None or not sealing.possible():
        return False
    made = subprocess.run([*_UNSHARE, "true"], capture_output=True, check=False)  # noqa: S603 - a fixed command
    return made.returncode == 0


def require(agent: agents.Agent) -> None:
    """Refuse what cannot be isolated.

    Raises
    ------
    NotReplayable
        No namespace can be made here, or the agent cannot be imported by name in a new process.
    """
    if not possible():
        raise NotReplayable(
            "no empty network namespace can be made here",
            hint="replay without isolate: the guard refuses every new connection from Python",
        )
    name = agent.entry_point
    if name is None or name.startswith("__main__:"):
        raise NotReplayable(
            "an isolated replay imports the agent in a process of its own",
            hint="put it in a module and name it: module:attribute",
        )
    if agents.find_agent(name).target is not agent.target:
        raise NotReplayable(
            f"{name} is another object than the agent that was given",
            hint="name the agent instead: module:attribute",
        )


def play(job: Job, run: Run) -> Away:
    """Play a run in a child process; nothing is stored yet.

    Raises
    ------
    NotReplayable
        The child could not begin, with what it said.
    """
    order = {
        "agent": job.agent,
        "session": job.session,
        "options": job.options,
        "path": sys.path,
        "events": [msgspec.json.encode(event).decode() for event in run.event_log()],
        "bodies": run.bodies(),
    }
    child = subprocess.run(  # noqa: S603 - our own module, by the interpreter that runs
        [*_UNSHARE, sys.executable, *_CHILD],
        input=json.dumps(order).encode(),
        capture_output=True,
        env=_environment(),
        check=False,
    )
    if child.returncode != 0:
        said = child.stderr.decode("utf-8", "replace").strip()
        raise NotReplayable(
            "the isolated replay ended before its time",
            found=said.splitlines()[-1] if said else f"exit status {child.returncode}",
            hint="the agent must work in a process of its own, from the same folder",
        )
    answer = msgspec.json.decode(child.stdout)
    if "problem" in answer:
        raise WorkbenchError.from_problem(answer["problem"])
    return Away(answer=answer)


def _environment() -> dict[str, str]:
    return {name: os.environ[name] for name in _KEPT if name in os.environ}


def stored(away: Away, sink: RunWriter) -> Played:
    """Append what the child wrote to the new run, and return what came of it."""
    answer = away.answer
    sink.append([parse_event(text.encode()) for text in answer["events"]], answer["bodies"])
    sink.close()
    return Played(
        mode=answer["mode"],
        identical=answer["identical"],
        divergences=[Divergence.from_dict(found) for found in answer["divergences"]],
        notices=[Divergence.from_dict(found) for found in answer["notices"]],
        answered=[Answered(**row) for row in answer["answered"]],
        unconsumed=answer["unconsumed"],
        normalisers=answer["normalisers"],
        renamed=answer["renamed"],
        output=values.thaw(answer["output"]),
    )
