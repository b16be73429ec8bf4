"""A graph that a bench records and replays: one node that goes round, with a call each time."""

from __future__ import annotations

from typing import TypedDict

import replayed
from langgraph.graph import END, START, StateGraph


class State(TypedDict):
    turn: int
    count: int


class Seen:
    """When the first node of a graph began and its last one ended, as the agent sees it."""

    began = ended = 0.0

    @property
    def took(self) -> float:
        """The seconds between."""
        return self.ended - self.began


seen = Seen()


def looping(call):
    """Return a graph whose node makes a call until it has made ``count`` of them."""

    def node(state: State) -> dict[str, int]:
        if not state["turn"]:
            seen.began = replayed.now()
        call(replayed.TEXT, state["turn"])
        seen.ended = replayed.now()
        return {"turn": state["turn"] + 1}

    graph = StateGraph(State)
    graph.add_node("node", node)
    graph.add_edge(START, "node")
    graph.add_conditional_edges(
        "node", lambda state: "node" if state["turn"] < state["count"] else END
    )
    return graph.compile()


agent, bare = looping(replayed.tool), looping(replayed.found)


def first(count: int) -> float:
    """As `replayed.first`, by an agent that stands on LangGraph."""
    return replayed.first(count)
