"""The agents that the operator registered: whoever asks for a replay names one of these.

``WORKBENCH_AGENTS`` is JSON, or the path of a JSON file: a name → ``target``
(``module:attribute``), and if wanted ``python`` (the interpreter that has the agent's packages),
``cwd`` (the folder its modules are found in) and ``live`` (whether a replay may call outside).
"""

from __future__ import annotations

import os
import re
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from workbench.errors import UsageError
from workbench_server.misfits import sides_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

VARIABLE = "WORKBENCH_AGENTS"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_TARGET = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_SHOWN = 80
_EXAMPLE = '{"support": {"target": "support_desk.agent:agent"}}'


class Agent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One registered agent."""

    target: str
    python: str | None = None
    cwd: str | None = None
    live: bool = False


def registered(environment: Mapping[str, str] = os.environ) -> dict[str, Agent]:
    """Return name → agent as the environment says, none where it says nothing.

    Raises
    ------
    UsageError
        What it says is no JSON, or an entry does not fit; the first misfit is named.
    """
    said = environment.get(VARIABLE, "").strip()
    if not said:
        return {}
    where, raw = (VARIABLE, said.encode()) if said.startswith("{") else (said, _read(said))
    try:
        entries = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{VARIABLE} is no JSON object of agents",
            where=where,
            expected=f"such as {_EXAMPLE}",
            found=str(error),
        ) from error
    return {name: _agent(name, entry, where=where) for name, entry in entries.items()}


def _read(path: str) -> bytes:
    try:
        return Path(path).expanduser().read_bytes()
    except OSError as error:
        raise UsageError(
            f"{VARIABLE} names a file that cannot be read",
            where=path[:_SHOWN],
            expected="JSON, or the path of a JSON file",
            found=error.strerror,
        ) from error


def _agent(name: str, entry: msgspec.Raw, *, where: str) -> Agent:
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{VARIABLE} has a name that nobody could ask for",
            where=where,
            expected="1 to 100 letters, digits and . _ -, beginning with a letter or digit",
            found=name[:_SHOWN],
        )
    try:
        agent = msgspec.json.decode(entry, type=Agent)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        sides = sides_of(error, Agent)
        place = ".".join(filter(None, (name, sides.pop("where"))))
        raise UsageError(
            f"{VARIABLE} has an entry that does not fit", where=f"{where}: {place}", **sides
        ) from error
    if not _TARGET.fullmatch(agent.target):
        raise UsageError(
            f"{VARIABLE} has a target that cannot be imported",
            where=f"{where}: {name}.target",
            expected="module:attribute",
            found=agent.target[:_SHOWN],
        )
    return agent


def check_here(agents: Mapping[str, Agent]) -> None:
    """Refuse an agent whose interpreter or folder this machine does not have.

    Raises
    ------
    UsageError
        The first one that is missing is named.
    """
    for name, agent in agents.items():
        if agent.python is not None and not os.access(agent.python, os.X_OK):
            raise _missing(name, "python", "a program on this machine", agent.python)
        if agent.cwd is not None and not Path(agent.cwd).is_dir():
            raise _missing(name, "cwd", "a folder on this machine", agent.cwd)


def _missing(name: str, field: str, expected: str, found: str) -> UsageError:
    return UsageError(
        f"{VARIABLE} names what is not here",
        where=f"{name}.{field}",
        expected=expected,
        found=found[:_SHOWN],
    )


def named(agents: Mapping[str, Agent], wanted: str) -> Agent:
    """Return the agent of this name.

    Raises
    ------
    UsageError
        None has it; the registered names are told. An import path is no name.
    """
    if wanted in agents:
        return agents[wanted]
    what = "an import path names no agent here" if ":" in wanted else "no agent has this name"
    near = get_close_matches(wanted, list(agents), n=1, cutoff=0.4)
    raise UsageError(
        what,
        where="agent",
        expected=_told(agents),
        found=wanted[:_SHOWN],
        hint=f"Did you mean {near[0]}?" if near else _hint(),
    )


def of_target(agents: Mapping[str, Agent], target: str | None) -> str:
    """Return the name under which the agent that a run names is registered.

    Raises
    ------
    UsageError
        It is registered under no name, or under several.
    """
    names = [name for name, agent in agents.items() if agent.target == target]
    if len(names) == 1:
        return names[0]
    several = "several registered agents are the one that the run names"
    raise UsageError(
        several if names else "the run's own agent is not registered",
        where="agent",
        expected=_told(names or agents),
        found=target,
        hint="Name one of them." if agents else _hint(),
    )


def _told(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "nothing: no agent is registered"


def _hint() -> str:
    return f"GET /v1/agents lists the names; the operator registers them in {VARIABLE}."
