"""Graphs that ask people, and wait for them."""

import asyncio
import operator
from typing import Annotated, TypedDict

from graph_agents import State, find, given, graph
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langgraph.cache.memory import InMemoryCache
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import CachePolicy, Command, Send, interrupt
from pydantic import BaseModel
from replay_agents import world

import workbench as wb


def thread(name="t"):
    return {"configurable": {"thread_id": name}}


def before(_):
    return {"found": [find.invoke({"what": "before"})]}


def review(_):
    draft = find.invoke({"what": "draft"})
    first = interrupt({"approve": "refund"})
    second = interrupt("are you sure?")
    return {"found": [draft, first, second, find.invoke({"what": "pay"})]}


def after(_):
    return {"found": [find.invoke({"what": "after"})]}


def approving(**compiled):
    edges = [(START, "before"), ("before", "review"), ("review", "after")]
    return graph(before, review, after, edges=edges, checkpointer=InMemorySaver(), **compiled)


# ---- how they are gone through


def entered(agent, entry, *args):
    """Call an agent by one of its entries, to the end."""
    if entry == "invoke":
        return agent.invoke(*args)
    if entry == "stream":
        return list(agent.stream(*args))
    if entry == "ainvoke":
        return asyncio.run(agent.ainvoke(*args))

    async def drained():
        return [chunk async for chunk in agent.astream(*args)]

    return asyncio.run(drained())


def block(store, agent, *parts, entry="invoke", name="t"):
    """Record a block that goes through the parts one after the other, in one thread."""
    with wb.record(store) as run:
        for part in parts:
            entered(agent, entry, part, thread(name))
    return store.run(run.run_id)


def answered_by_id(store, agent, *, at_once, name="t"):
    """Record people that are asked side by side, and answered at once or one after the other."""
    with wb.record(store) as run:
        waiting = agent.invoke(given(), thread(name))["__interrupt__"]
        answers = {one.id: one.value.upper() for one in waiting}
        for some in [answers] if at_once else [{one: answers[one]} for one in answers]:
            agent.invoke(Command(resume=some), thread(name))
    return store.run(run.run_id)


# ---- a tool that asks


@tool
def refund(what: str) -> str:
    """Ask a person twice."""
    world.live("refund")
    return f"{what} {interrupt('first?')} {interrupt('second?')}"


def by_a_tool():
    def ask(state):
        if state["messages"][-1].type != "human":
            return {"messages": [AIMessage(find.invoke({"what": "end"}))]}
        call = {"id": "1", "name": "refund", "args": {"what": "A1"}}
        return {"messages": [AIMessage("", tool_calls=[call])]}

    made = StateGraph(MessagesState)
    made.add_node("ask", ask)
    made.add_node("tools", ToolNode([refund]))
    made.add_edge(START, "ask")
    made.add_conditional_edges(
        "ask", lambda s: "tools" if getattr(s["messages"][-1], "tool_calls", None) else END
    )
    made.add_edge("tools", "ask")
    return made.compile(checkpointer=InMemorySaver())


# ---- side by side


class Part(TypedDict):
    number: int
    found: Annotated[list, operator.add]


def side_by_side():
    """People asked side by side, in a subgraph each."""

    def ask(part):
        draft = find.invoke({"what": str(part["number"])})
        return {"found": [[draft, interrupt(f"number {part['number']}?")]]}

    inner = graph(ask, edges=[(START, "ask")], state=Part)
    made = StateGraph(State)
    made.add_node("part", inner)
    sends = [Send("part", {"number": number, "found": []}) for number in range(3)]
    made.add_conditional_edges(START, lambda _: sends, ["part"])
    return made.compile(checkpointer=InMemorySaver())


# ---- otherwise


class Decision(BaseModel):
    approved: bool


def by_a_form():
    """An answer that has to be of a form."""

    def decide(_):
        decision = interrupt("approve?", response_schema=Decision)
        return {"found": [decision.approved, find.invoke({"what": "x"})]}

    return graph(decide, edges=[(START, "decide")], checkpointer=InMemorySaver())


def remembering():
    """A graph whose thread holds what its last turn found."""
    return graph(before, edges=[(START, "before")], checkpointer=InMemorySaver())


def only_computing():
    """A node that asks nothing, before one that does."""
    nodes = (("compute", lambda _: {"found": [1]}), after)
    return graph(*nodes, edges=[(START, "compute"), ("compute", "after")])


def with_a_cache():
    """A node that a cache of the graph answers for, from its second run on."""
    made = StateGraph(State)
    made.add_node("before", before, cache_policy=CachePolicy(key_func=lambda _: "same"))
    made.add_edge(START, "before")
    return made.compile(cache=InMemoryCache())


_own = approving()


def resuming_itself(_):
    """An agent that answers itself, in a replay otherwise."""
    config = thread("own")
    _own.invoke(given(), config)
    _own.invoke(Command(resume="no" if world.poisoned else "yes"), config)
    return _own.invoke(Command(resume="sure"), config)["found"][2:4]


approved = approving()
stopped = approving(interrupt_before=["review"], interrupt_after=["review"])
tool_that_asks = by_a_tool()
people_side_by_side = side_by_side()
form = by_a_form()
turns = remembering()
computing = only_computing()
keeping = with_a_cache()
