"""Agents for the replay tests: every live answer differs, waits are shuffled, calls are counted."""

import asyncio
import itertools
import operator
import os
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated

from langchain_core.documents import Document
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, SystemMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.retrievers import BaseRetriever
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import Send

import workbench as wb

POISONED = "WORKBENCH_TEST_POISONED"
"""Set for a process that begins with a poisoned world: the child of an isolated replay."""
BITTEN = "WORKBENCH_TEST_BITTEN"
"""Names a file in which whatever is called live in a poisoned world leaves a line."""


def bitten(what):
    """Say that something was called live which must not be, whoever catches what is raised."""
    if BITTEN in os.environ:
        with open(os.environ[BITTEN], "a") as file:  # noqa: PTH123 - as agents do
            file.write(f"{what}\n")
    raise AssertionError(f"{what} was called live")


class World:
    """What the agents act on."""

    def __init__(self):
        self.reset(None)

    def reset(self, side_effects):
        self.poisoned = POISONED in os.environ
        self.calls = 0
        self.failures = 0
        self.side_effects = side_effects
        self.system = "You are a desk."
        self.temperature = 0.7
        self.model_name = "desk-1"
        self.numbers = itertools.count(1)
        self.extra_call = False

    def live(self, what):
        """Every body of a model, tool or retriever comes by here."""
        if self.poisoned:
            bitten(what)
        self.calls += 1
        if self.side_effects is not None:
            with self.side_effects.open("a") as file:
                file.write(f"{what}\n")
        return next(self.numbers)


world = World()


def pause():
    time.sleep(random.random() * 0.004)


# ---- LangChain parts


class DeskModel(BaseChatModel):
    model_name: str = "desk-1"
    temperature: float = 0.7
    lookups: int = 4

    @property
    def _llm_type(self):
        return "desk"

    def bind_tools(self, tools, **kwargs):
        return self.bind(tools=list(tools), **kwargs)

    def _answer(self, messages):
        number = world.live("model")
        if isinstance(messages[-1], HumanMessage) and self.lookups:
            calls = [
                {"id": f"call-{number}-{i}", "name": "look_up", "args": {"order": "A1"}}
                for i in range(self.lookups)
            ]
            return AIMessage("", tool_calls=calls)
        usage = {"input_tokens": 12, "output_tokens": 3, "total_tokens": 15}
        return AIMessage(f"answer {number}", usage_metadata=usage)

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        pause()
        return ChatResult(generations=[ChatGeneration(message=self._answer(messages))])


class StreamingModel(DeskModel):
    lookups: int = 0

    def _stream(self, messages, stop=None, run_manager=None, **kwargs):
        number = world.live("stream")
        for word in ("one ", "two ", f"three {number}"):
            yield ChatGenerationChunk(message=AIMessageChunk(word))


@tool
def look_up(order: str) -> str:
    """Look an order up."""
    pause()
    return f"{order}: {world.live('look_up')}"


class Shelf(BaseRetriever):
    def _get_relevant_documents(self, query, *, run_manager):
        return [Document(f"page {world.live('retriever')}", metadata={"rank": 1}, id="d1")]


class State(MessagesState):
    found: Annotated[list, operator.add]


def model():
    bare = DeskModel(model_name=world.model_name, temperature=world.temperature)
    return bare.bind_tools([look_up])


def _agent(state):
    if world.extra_call:
        DeskModel(lookups=0).invoke("one call more")
    return {"messages": [model().invoke([SystemMessage(world.system), *state["messages"]])]}


def _next(state):
    return "tools" if state["messages"][-1].tool_calls else "spread"


def _spread(state):
    return [Send("worker", {"number": i}) for i in range(3)]


def _worker(state):
    pause()
    first = look_up.invoke({"order": f"W{state['number']}"})
    return {"found": [first, look_up.invoke({"order": "same"})]}


def _read(state):
    return {"found": [Shelf().invoke("returns")[0].page_content]}


def _two(state):
    return {"found": look_up.batch([{"order": "b"}, {"order": "b"}, {"order": "b"}])}


def desk():
    """A desk with parallel tool calls, a fan-out, a subgraph with parallel nodes, and a batch."""
    inner = StateGraph(State)
    inner.add_node("read", _read)
    inner.add_node("two", _two)
    inner.add_edge(START, "read")
    inner.add_edge(START, "two")
    graph = StateGraph(State)
    graph.add_node("agent", _agent)
    graph.add_node("tools", ToolNode([look_up]))
    graph.add_node("spread", lambda _: {})
    graph.add_node("worker", _worker)
    graph.add_node("inner", inner.compile())
    graph.add_edge(START, "agent")
    graph.add_conditional_edges("agent", _next, ["tools", "spread"])
    graph.add_edge("tools", "agent")
    graph.add_conditional_edges("spread", _spread, ["worker"])
    graph.add_edge("worker", "inner")
    return graph.compile()


desk_graph = desk()


def question():
    return {"messages": [HumanMessage("where is A1?")], "found": []}


# ---- plain Python


@wb.call(effect="read")
def ask(what):
    pause()
    return {"what": what, "answer": world.live("ask")}


@wb.call(effect="read")
async def aask(what):
    await asyncio.sleep(random.random() * 0.004)
    return {"what": what, "answer": world.live("aask")}


@wb.call(effect="write")
def send(what):
    return world.live(f"send {what}")


@wb.call(effect="read")
def flaky(what):
    world.failures += 1
    world.live("flaky")
    if world.failures % 3:
        raise TimeoutError(f"attempt {world.failures}")
    return world.failures


async def identical_gather(_):
    return await asyncio.gather(*(aask("same") for _ in range(4)))


async def chains_in_a_gather(_):
    async def chain(start):
        first = await aask(start)
        second = await aask(first["answer"] % 2)
        return await aask([second["answer"], "end"])

    return await asyncio.gather(*(chain("same") for _ in range(4)))


def different_in_threads(_):
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(ask, ["a", "b", "c", "d"]))


def identical_in_bare_threads(_):
    found = {}

    def work(number):
        found[number] = [ask("same"), ask("same")]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [found[i] for i in range(4)]


async def everything_at_once(given):
    """Tasks within tasks, a group, a worker thread and an executor of the loop."""

    async def nested(number):
        return await asyncio.gather(*(aask(number % 2) for _ in range(2)))

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(nested(i)) for i in range(3)]
    loop = asyncio.get_running_loop()
    beside = await asyncio.gather(
        asyncio.to_thread(different_in_threads, given),
        loop.run_in_executor(None, ask, "in the executor"),
        asyncio.wait_for(aask("in time"), 5),
    )
    return [[task.result() for task in tasks], beside]


def polling(_):
    return [ask("ready?") for _ in range(3)]


def retrying(_):
    while True:
        try:
            return flaky("gateway")
        except TimeoutError:
            time.sleep(0.01)


def sequence(given):
    first = ask("first")
    second = ask({"after": first["answer"]})
    third = ask("third")
    return [first, second["answer"], third]


def cancelled_while_queued(_):
    """A job that had begun when its neighbour failed; in a replay it is still in the queue."""
    free = threading.Event()

    def first():
        free.wait(5)
        return ask("first")

    with ThreadPoolExecutor(1) as pool:
        one, two = pool.submit(first), pool.submit(ask, "second")
        if not world.poisoned:
            free.set()
            two.result()
        two.cancel()
        free.set()
    return one.result()
