"""Every program of the capture suite, as it is recorded and replayed; or why it cannot be.

One row for each, in `SHAPES`; test_shapes.py reads them. An agent is an importable name, since an
isolated replay imports it in a process of its own.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import child_agents
import ended_agents
import function_agents
import graph_agents
import human_agents as people
import lane_agents
import odd
import odd_agents
import order_agents
import path_agents
import replay_agents
from graph_agents import given
from langgraph.types import Command

import workbench as wb
from workbench.capture.agents import find_agent

ENTRIES = ("invoke", "ainvoke", "stream", "astream")
_numbers = itertools.count()


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A program.

    Attributes
    ----------
    agent
        By what name it is imported.
    given
        Its input.
    entries
        The ways of calling it: each is replayed guarded, the last one isolated.
    record
        ``(store, agent's name, entry)`` → its runs, where they are made in several calls.
    options
        How it is replayed.
    refused
        What a replay says of it, where it cannot be replayed exactly.
    warns
        What its recording warns of.
    server
        Whether only a server can store it: its run has several writers.
    """

    agent: str
    given: Any = None
    entries: tuple[str | None, ...] = (None,)
    record: Callable[..., list[Any]] | None = None
    options: dict[str, Any] = field(default_factory=dict)
    refused: str | None = None
    warns: str | None = None
    server: bool = False

    def recorded(self, store, entry):
        """Record it once; return its runs: more than one where each part is one."""
        graph_agents.failed.clear()
        if self.record is not None:
            return self.record(store, self.agent, entry)
        return [wb.record(store, self.agent, self.given, entry=entry)]


def _plain(*agents, **row):
    """Return a row for each function, named as it is."""
    return {
        agent.__name__: Shape(agent=f"{agent.__module__}:{agent.__name__}", **row)
        for agent in agents
    }


def _of(module, space, names, **row):
    return {name: Shape(agent=f"{module}:{space}.{name}", **row) for name in names}


# ---- runs of several calls


def _thread():
    return people.thread(f"thread {next(_numbers)}")


def _in_a_block(*parts):
    """Record a block that goes through the parts of a conversation."""

    def record(store, agent, entry):
        target, name = find_agent(agent).target, f"block {next(_numbers)}"
        return [people.block(store, target, *parts, entry=entry, name=name)]

    return record


def _each_part(*parts):
    """Record each part of a conversation as a run of its own, in one thread."""

    def record(store, agent, entry):
        thread = _thread()
        return [wb.record(store, agent, part, config=thread, entry=entry) for part in parts]

    return record


def _side_by_side(*, at_once):
    def record(store, agent, _):
        target, name = find_agent(agent).target, f"beside {next(_numbers)}"
        return [people.answered_by_id(store, target, at_once=at_once, name=name)]

    return record


def _roots(*given):
    """Record a block in which an agent is called several times, or what it calls without it."""

    def record(store, agent, _):
        target = wb.root(find_agent(agent).target)
        with wb.record(store) as run:
            for one in given:
                target(one)
            if not given:
                replay_agents.ask("alone")
        return [store.run(run.run_id)]

    return record


def _twice(store, agent, _):
    """Record an agent whose cache holds what its first run found: the second run."""
    wb.record(store, agent, given())
    return [wb.record(store, agent, given())]


YES = (given(), Command(resume="yes"), Command(resume="sure"))
STOPS = (given(), None, Command(resume="a"), Command(resume="b"), None)
TOOL = ({"messages": [("user", "hi")]}, Command(resume="A"), Command(resume="B"))
FORM = (given(), Command(resume={"approved": True}))

# ---- the table

GRAPHS = {
    name: Shape(agent=f"graph_agents:cases.{name}", given=case.given, entries=case.entries)
    for name, case in graph_agents.CASES.items()
} | {
    "a desk": Shape(
        agent="replay_agents:desk_graph", given=replay_agents.question(), entries=ENTRIES
    )
}
HUMANS = {
    "a block": Shape(agent="human_agents:approved", entries=ENTRIES, record=_in_a_block(*YES)),
    "each part": Shape(agent="human_agents:approved", entries=ENTRIES, record=_each_part(*YES)),
    "told to stop": Shape(
        agent="human_agents:stopped", entries=ENTRIES, record=_in_a_block(*STOPS)
    ),
    "a tool that asks": Shape(
        agent="human_agents:tool_that_asks", entries=("invoke",), record=_in_a_block(*TOOL)
    ),
    "several at once": Shape(
        agent="human_agents:people_side_by_side", record=_side_by_side(at_once=True)
    ),
    "several in turn": Shape(
        agent="human_agents:people_side_by_side", record=_side_by_side(at_once=False)
    ),
    "a form": Shape(agent="human_agents:form", entries=("invoke",), record=_in_a_block(*FORM)),
    "turns": Shape(agent="human_agents:turns", record=_each_part(given(), given(), given())),
    "a node that computes": Shape(agent="human_agents:computing", given=given()),
    "an agent that resumes itself": Shape(agent="human_agents:resuming_itself"),
    "what a cache held": Shape(
        agent="human_agents:keeping",
        record=_twice,
        warns="node before",
        refused="cache before the run",
    ),
}
LANES = _plain(*lane_agents.ALL) | _plain(
    *(replay_agents.everything_at_once, replay_agents.polling, replay_agents.retrying),
    *(replay_agents.sequence, replay_agents.cancelled_while_queued),
)
ORDERED = _plain(
    *(*order_agents.ORDERED, order_agents.lock_after_a_sleep), options={"order": "completed"}
)
LOOSE = _plain(*order_agents.LOOSE)
ENDED = _plain(*ended_agents.ALL)
FUNCTIONS = _plain(*function_agents.ALL) | _plain(
    function_agents.talked_with, warns="2 calls are lossy", refused="lossy"
)
AROUND = {
    "steps": Shape(agent="step_agents:agent"),
    "steps in a graph": Shape(agent="step_agents:around_a_graph"),
    "steps of threads": Shape(agent="step_agents:spawning"),
    "shims": Shape(agent="shim_agents:agent"),
    "a generator of chance": Shape(agent="shim_agents:deals"),
    "impossible draws": Shape(agent="shim_agents:draws_the_impossible"),
}
_SAME_TEXT = [name for name in odd.KEPT if name not in ("set", "memoryview")]
VALUES = {
    "odd values": Shape(agent="odd_agents:giving", given=_SAME_TEXT),
    "exceptions": Shape(agent="odd_agents:failing", given=list(odd_agents.ERRORS)),
    "exceptions of coroutines": Shape(agent="odd_agents:afailing", given=list(odd_agents.ERRORS)),
    "pieces that are one object": Shape(agent="odd_agents:stepping"),
    "arguments that are changed": Shape(agent="odd_agents:changing"),
    "cancelled and late": Shape(agent="odd_agents:cancelling"),
    "odd names": Shape(agent="odd_agents:naming", given=["\ud800", "x" * 20_000, "a\x00b", "é"]),
    "ten megabytes": Shape(agent="odd_agents:large", given=10_000_000),
    "what cannot be kept": Shape(
        agent="odd_agents:taking", given=list(odd.LOST), warns="lossy", refused="lossy"
    ),
}
PATHS = (
    _of("path_agents", "clients", path_agents.CLIENTS, given="hello")
    | _of("path_agents", "seen", path_agents.SEEN)
    | _of("path_agents", "told", path_agents.TOLD, warns="not recorded", refused="was not recorded")
)
BLOCKS = {
    "one root": Shape(agent="replay_agents:sequence", record=_roots("one")),
    "two roots": Shape(
        agent="replay_agents:sequence", record=_roots("one", "two"), refused="2 roots"
    ),
    "no root": Shape(
        agent="replay_agents:sequence",
        record=_roots(),
        warns="not replayable",
        refused="no recorded root",
    ),
}
BESIDE = _plain(
    *lane_agents.BESIDE, warns="order is inferred", refused="ran beside another call"
) | _plain(*child_agents.WAYS, server=True, refused="called by another process")

TOGETHER = {
    "lanes": Shape(agent="together:lanes"),
    "order": Shape(agent="together:ordered", options={"order": "completed"}),
    "loose": Shape(agent="together:loose"),
    "ended": Shape(agent="together:ended"),
    "function": Shape(agent="together:functions"),
    "path": Shape(agent="together:paths", given="hello"),
}
"""Of a group, a program that goes through all of its agents that can be replayed."""

SHAPES = {
    f"{group}: {name}": shape
    for group, shapes in {
        "graph": GRAPHS,
        "human": HUMANS,
        "lanes": LANES,
        "order": ORDERED,
        "loose": LOOSE,
        "ended": ENDED,
        "function": FUNCTIONS,
        "around": AROUND,
        "value": VALUES,
        "path": PATHS,
        "block": BLOCKS,
        "beside": BESIDE,
    }.items()
    for name, shape in shapes.items()
}
SHAPES |= {f"{group}: all of them": shape for group, shape in TOGETHER.items()}
