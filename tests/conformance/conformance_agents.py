"""Agents of the cases, on plain Python and in a node of a graph, each importable by its name.

A process that begins with ``CHANGES`` set has a world that differs by it: the child of an isolated
replay.
"""

import inspect
import json
import os
import time
import uuid
from contextlib import suppress
from typing import Any, TypedDict

import replay_agents as agents
from langchain_core.messages import SystemMessage
from langgraph.graph import START, StateGraph

import workbench as wb

CHANGES = "WORKBENCH_TEST_CHANGES"
"""JSON of what differs in the world of a process that begins with it."""

vars(agents.world).update(json.loads(os.environ.get(CHANGES, "{}")))


class State(TypedDict):
    found: Any


def in_a_graph(work):
    """Return a graph whose only node does the work."""

    def node(state):
        return {"found": work(state["found"])}

    async def anode(state):
        return {"found": await work(state["found"])}

    graph = StateGraph(State)
    graph.add_node("work", anode if inspect.iscoroutinefunction(work) else node)
    graph.add_edge(START, "work")
    return graph.compile()


def asks_a_desk(_):
    world = agents.world
    if world.extra_call:
        agents.DeskModel(lookups=0).invoke("one call more")
    model = agents.DeskModel(lookups=0, model_name=world.model_name, temperature=world.temperature)
    said = model.invoke([SystemMessage(world.system), ("user", "where is A1?")])
    return [said.content, agents.ask("after")["answer"]]


def tries_again(_):
    told = []
    while True:
        try:
            return [told, agents.flaky("gateway")]
        except TimeoutError as error:
            told.append([type(error).__name__, str(error)])
            time.sleep(30 if agents.world.poisoned else 0)


def asks_by_id(_):
    return agents.ask(f"it is {uuid.uuid4()}")["answer"]


def asks_by_time(_):
    return agents.ask(f"now {time.time_ns() / 1e9:.6f}")["answer"]


def asks_and_goes_on(_):
    """Ask, and ask anew whatever is raised."""
    for what in ["other", "again"] if agents.world.extra_call else ["one"]:
        with suppress(Exception):
            agents.ask(what)


@wb.call(effect="write")
def spend(file, port):
    """Leave a line in a file, and a byte at a server."""
    import socket

    with open(file, "a") as told:  # noqa: PTH123 - as agents do
        told.write("spent\n")
    with socket.create_connection(("127.0.0.1", port), 2) as made:
        made.sendall(b"x")
    return "spent"


def spends(given):
    return [agents.ask("before")["answer"], spend(**given), spend(**given)]


WORKS = (
    agents.identical_gather,
    agents.identical_in_bare_threads,
    agents.chains_in_a_gather,
    agents.different_in_threads,
    asks_a_desk,
    tries_again,
    asks_by_id,
    asks_by_time,
    spends,
    agents.polling,
)
for _work in WORKS:
    globals()[f"plain_{_work.__name__}"] = _work
    globals()[f"graph_{_work.__name__}"] = in_a_graph(_work)


def named(side, work):
    """Return the agent of some work on one side by the name a child imports it by."""
    return f"{__name__}:{side}_{work.__name__}"


def recorded(store, side, work, given=None):
    """Record work on one side by its importable name; return the run."""
    is_async = side == "graph" and inspect.iscoroutinefunction(work)
    given = {"found": given} if side == "graph" else given
    return wb.record(store, named(side, work), given, **({"entry": "ainvoke"} if is_async else {}))
