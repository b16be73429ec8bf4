"""Agents with steps of every sort around their calls."""

import asyncio
import threading

import replay_agents as agents
from langgraph.graph import START, MessagesState, StateGraph

import workbench as wb


@wb.step
def prepare(words, *, sep=" "):
    return sep.join([agents.ask(word)["what"] for word in words])


@wb.step("fetching")
async def fetch(words):
    return [(await agents.aask(word))["what"] for word in words]


@wb.step
def pieces(words):
    for word in words:
        agents.ask(word)
        yield word


@wb.step
async def apieces(words):
    for word in words:
        yield (await agents.aask(word))["what"]


class Desk:
    @wb.step
    def method(self, word):
        return agents.ask(word)["what"]

    @wb.step
    @classmethod
    def of_class(cls, word):
        return cls.__name__ + word


def agent(_):
    with wb.step("outer", input={"n": 1}) as outer:
        said = prepare(["a", "b"])
        with wb.step("inner"):
            agents.ask("c")
        outer.output = said
    found = [said, asyncio.run(fetch(["d"])), list(pieces(["e", "f"]))]
    found.append(asyncio.run(collected(apieces(["g"]))))
    agents.ask("beside")
    return [*found, Desk().method("h"), Desk.of_class("i")]


async def collected(stream):
    return [piece async for piece in stream]


def _node(state):
    with wb.step("in the node"):
        agents.ask("x")
    return {}


_builder = StateGraph(MessagesState)
_builder.add_node("node", _node)
_builder.add_edge(START, "node")
_graph = _builder.compile()


def around_a_graph(_):
    with wb.step("around"):
        _graph.invoke({"messages": []})


def spawning(_, step=wb.step):
    """Threads begun before, in and behind a step, or what is given in its place."""

    def thread(word):
        one = threading.Thread(target=agents.ask, args=(word,))
        one.start()
        one.join()

    thread("before")
    with step("spawning"):
        thread("inside")
    thread("after")
