"""Graphs for the conformance tests: one for each shape of work, a random wait in every call."""

import asyncio
import itertools
import operator
import random
import time
from collections import defaultdict
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Annotated, Any, TypedDict

from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import RunnableLambda, RunnableParallel
from langchain_core.tools import tool
from langgraph.cache.memory import InMemoryCache
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint, task
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import InjectedState, InjectedStore, ToolNode, ToolRuntime
from langgraph.store.memory import InMemoryStore
from langgraph.types import CachePolicy, Command, RetryPolicy, Send
from pydantic import BaseModel
from replay_agents import Shelf, world

ALL = ("invoke", "ainvoke", "stream", "astream")
SYNC = ("invoke", "stream")
ASYNC = ("ainvoke", "astream")


def pause():
    time.sleep(random.random() * 0.002)


# how often something failed in this run; emptied before each
failed = defaultdict(int)


def fails_first(what, *, times=1):
    """Fail the first times in a run that something is asked."""
    failed[what] += 1
    if failed[what] <= times:
        raise ConnectionError(f"{what} failed")


# ---- models, tools


class Model(BaseChatModel):
    """Answers with a number, or with the tool calls it was made with; waits a little."""

    model_name: str = "graph-1"
    calls: tuple[dict[str, Any], ...] = ()
    fails: str | None = None

    @property
    def _llm_type(self):
        return "graph"

    def bind_tools(self, tools, **kwargs):
        return self.bind(tools=list(tools), **kwargs)

    def _message(self, messages):
        if self.fails:
            world.live(self.model_name)
            fails_first(self.fails)
        number = world.live(self.model_name)
        if self.calls and isinstance(messages[-1], HumanMessage):
            return AIMessage("", tool_calls=list(self.calls))
        return AIMessage(f"answer {number}")

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        pause()
        return ChatResult(generations=[ChatGeneration(message=self._message(messages))])


class Streaming(Model):
    """Answers in three pieces."""

    def _stream(self, messages, stop=None, run_manager=None, **kwargs):
        number = world.live(self.model_name)
        for word in ("one ", "two ", f"three {number}"):
            pause()
            chunk = ChatGenerationChunk(message=AIMessageChunk(word))
            if run_manager:
                run_manager.on_llm_new_token(word, chunk=chunk)
            yield chunk


def chat(number=1, **settings):
    return Model(model_name=f"graph-{number}", **settings)


@tool
def find(what: str) -> str:
    """Find something."""
    pause()
    return f"{what} {world.live('find')}"


@tool
def fragile(what: str) -> str:
    """Fail at first."""
    pause()
    world.live("fragile")
    fails_first(f"fragile {what}")
    return f"{what} {world.live('fragile')}"


@tool
def injected(
    what: str,
    state: Annotated[dict, InjectedState],
    store: Annotated[Any, InjectedStore()],
    runtime: ToolRuntime,
) -> str:
    """Look at what the framework gives it."""
    pause()
    seen = len(state["messages"]) + (store is not None) + (runtime.tool_call_id is not None)
    return f"{what} {seen} {world.live('injected')}"


def call(name, what, *, id):  # noqa: A002 - LangChain's own word
    return {"id": id, "name": name, "args": {"what": what}}


class State(MessagesState):
    found: Annotated[list, operator.add]


def given():
    return {"messages": [HumanMessage("hello")], "found": []}


def graph(*nodes, edges, state=State, **compiled):
    """Return a compiled graph of functions; an edge is (from, to)."""
    made = StateGraph(state)
    for node in nodes:
        name, what = node if isinstance(node, tuple) else (node.__name__, node)
        made.add_node(name, what)
    for one, other in edges:
        made.add_edge(one, other)
    return made.compile(**compiled)


def finding(what, times=1, name=None):
    """Return a node that finds something."""

    def node(_):
        return {"found": [find.invoke({"what": what}) for _ in range(times)]}

    node.__name__ = name or what
    return node


# ---- the shapes


def agent():
    calls = [call("find", what, id=f"c{i}") for i, what in enumerate(["a", "b", "a"])]
    return create_agent(Model(calls=calls), [find], system_prompt="Find.")


def branches():
    """Parallel branches of different length that meet."""

    def ask(_):
        return {"messages": [chat(2).invoke("ask")], "found": [find.invoke({"what": "same"})]}

    def search(_):
        return {"found": [d.page_content for d in Shelf().invoke("search")]}

    edges = [(START, "left"), (START, "ask"), (START, "search"), ("left", "longer")]
    return graph(
        finding("same", 2, "left"), ask, search, finding("end", name="longer"), finding("join"),
        edges=[*edges, (["longer", "ask", "search"], "join"), ("join", END)],
    )  # fmt: skip


def _inner(name="inner"):
    return graph(
        finding("x", name="one"), finding("x", name="two"),
        edges=[(START, "one"), (START, "two")], name=name,
    )  # fmt: skip


def subgraphs():
    """Subgraphs as nodes, one within another, side by side."""
    middle = graph(
        ("deep", _inner()), finding("middle"), edges=[(START, "deep"), ("deep", "middle")]
    )
    return graph(
        ("first", middle), ("second", _inner()), finding("last"),
        edges=[(START, "first"), (START, "second"), (["first", "second"], "last")],
    )  # fmt: skip


def subgraphs_in_a_node():
    """A subgraph called inside a node, several times, one after the other."""
    inner = _inner()

    def outer(state):
        before = find.invoke({"what": "before"})
        found = [len(inner.invoke({"messages": [], "found": []})["found"]) for _ in range(3)]
        return {"found": [before, *found, find.invoke({"what": "after"})]}

    return graph(outer, finding("end"), edges=[(START, "outer"), ("outer", "end")])


def subgraphs_in_a_gather():
    """A subgraph called several times at once inside a node."""
    inner = _inner()

    async def outer(state):
        empty = {"messages": [], "found": []}
        found = await asyncio.gather(*(inner.ainvoke(empty) for _ in range(3)))
        return {"found": [len(one["found"]) for one in found]}

    return graph(outer, finding("end"), edges=[(START, "outer"), ("outer", "end")])


class Part(TypedDict):
    what: str
    found: Annotated[list, operator.add]


def fan_out():
    """Send within Send: each part is split again in a subgraph."""

    def leaf(part):
        return {"found": [find.invoke({"what": part["what"]}), find.invoke({"what": "same"})]}

    inner = StateGraph(Part)
    inner.add_node("split", lambda _: {})
    inner.add_node("leaf", leaf)
    inner.add_edge(START, "split")
    again = [Send("leaf", {"what": f"leaf {i}", "found": []}) for i in range(2)]
    inner.add_conditional_edges("split", lambda _: again, ["leaf"])
    outer = StateGraph(State)
    outer.add_node("plan", finding("plan"))
    outer.add_node("part", inner.compile())
    outer.add_node("gathered", finding("gathered"))
    outer.add_edge(START, "plan")
    parts = [Send("part", {"what": f"part {i}", "found": []}) for i in range(3)]
    outer.add_conditional_edges("plan", lambda _: parts, ["part"])
    outer.add_edge("part", "gathered")
    return outer.compile()


def retries():
    """A node that its policy tries again, beside one that does not fail."""

    def trying(_):
        return {"found": [find.invoke({"what": "try"}), fragile.invoke({"what": "node"})]}

    made = StateGraph(State)
    policy = RetryPolicy(initial_interval=0.001, jitter=False, retry_on=ConnectionError)
    made.add_node("trying", trying, retry_policy=policy)
    made.add_node("calm", finding("calm", 2))
    made.add_edge(START, "trying")
    made.add_edge(START, "calm")
    return made.compile()


def attempts():
    """A model that is tried again, one with a fallback, and a tool with both."""

    def ask(state):
        again = chat(3, fails="again").with_retry(
            stop_after_attempt=2, wait_exponential_jitter=False
        )
        instead = chat(4, fails="instead").with_fallbacks([chat(5)])
        both = fragile.with_retry(stop_after_attempt=2, wait_exponential_jitter=False)
        return {
            "messages": [again.invoke("one"), instead.invoke("two")],
            "found": [both.invoke({"what": "tool"})],
        }

    return graph(ask, edges=[(START, "ask")])


def streaming():
    """Models that answer in pieces, read to the end, and one that is left early."""

    def read(_):
        text = "".join(chunk.content for chunk in Streaming().stream("read"))
        first = next(iter(Streaming().stream("left"))).content
        return {"found": [text, first, Streaming().invoke("whole").content]}

    return graph(read, finding("end"), edges=[(START, "read"), ("read", "end")])


def batches():
    """Batches and parallel runnables inside a node."""

    def many(_):
        models = chat().batch(["a", "b", "a"])
        tools = find.batch([{"what": "a"}, {"what": "a"}])
        both = RunnableParallel(
            one=chat(2), two=RunnableLambda(lambda _: find.invoke({"what": "two"}))
        ).invoke("x")
        return {"messages": [*models, both["one"]], "found": [*tools, both["two"]]}

    return graph(many, edges=[(START, "many")])


def async_batches():
    async def many(_):
        models = await chat().abatch(["a", "b", "a"])
        tools = await find.abatch([{"what": "a"}, {"what": "a"}])
        both = await RunnableParallel(one=chat(2), two=chat(3)).ainvoke("x")
        return {"messages": [*models, both["one"], both["two"]], "found": tools}

    return graph(many, edges=[(START, "many")])


def tools():
    """Several tool calls of one message, whose ids repeat, with what the framework injects."""
    calls = [
        call("find", "a", id="same"),
        call("injected", "b", id="same"),
        call("find", "a", id="same"),
        call("injected", "b", id="other"),
    ]

    def ask(state):
        return {"messages": [Model(calls=calls).bind_tools([find]).invoke(state["messages"])]}

    nodes = (ask, ("tools", ToolNode([find, injected])), finding("end"))
    edges = [(START, "ask"), ("ask", "tools"), ("tools", "end")]
    return graph(*nodes, edges=edges, store=InMemoryStore())


class Verdict(BaseModel):
    """What is thought."""

    good: bool


def structured():
    """A model that answers in a form, and one with tools, stop words and parameters."""
    verdict = {"id": "v", "name": "Verdict", "args": {"good": True}}

    def judge(state):
        shaped = Model(calls=[verdict]).with_structured_output(Verdict)
        bound = chat(2).bind_tools([find], tool_choice="any").bind(stop=["."])
        return {
            "messages": [bound.invoke(state["messages"])],
            "found": [shaped.invoke(state["messages"]).good],
        }

    return graph(judge, edges=[(START, "judge")])


def commands():
    """Nodes that say where to go, in circles, and up to a parent graph."""

    def turn(state):
        found = [find.invoke({"what": "turn"})]
        return Command(update={"found": found}, goto="turn" if len(state["found"]) < 3 else "up")

    def leave(_):
        update = {"found": [find.invoke({"what": "leave"})]}
        return Command(update=update, goto="end", graph=Command.PARENT)

    made = StateGraph(State)
    made.add_node("turn", turn, destinations=("turn", "up"))
    made.add_node("up", graph(leave, edges=[(START, "leave")]), destinations=("end",))
    made.add_node("end", finding("end"))
    made.add_edge(START, "turn")
    return made.compile()


def deferred():
    """A node that waits until every branch is through."""
    made = StateGraph(State)
    for name in ("one", "two", "three"):
        made.add_node(name, finding(name))
    made.add_node("last", finding("last"), defer=True)
    for one, other in ((START, "one"), (START, "two"), ("two", "three")):
        made.add_edge(one, other)
    for one in ("one", "three"):
        made.add_edge(one, "last")
    return made.compile()


def cached(_):
    """A node whose second visit is answered by a cache of the graph."""

    def slow(_):
        return {"found": [find.invoke({"what": "slow"})]}

    def again(state):
        sends = [Send("slow", {"key": 1}), Send("other", {"key": 1})]
        return sends if len(state["found"]) < 4 else END

    made = StateGraph(State)
    policy = CachePolicy(key_func=lambda part: str(part.get("key")))
    made.add_node("slow", slow, cache_policy=policy)
    made.add_node("other", finding("other"))
    made.add_node("loop", lambda _: {})
    made.add_edge(START, "loop")
    made.add_edge("slow", "loop")
    made.add_conditional_edges("loop", again, ["slow", "other", END])
    return made.compile(cache=InMemoryCache()).invoke(given())["found"]


@task
def _piece(number):
    pause()
    return [find.invoke({"what": "piece"}), find.invoke({"what": f"{number % 2}"})]


@task
async def _apiece(number):
    return [await find.ainvoke({"what": "piece"}), await find.ainvoke({"what": f"{number % 2}"})]


@entrypoint()
def functional(_):
    first = [one.result() for one in [_piece(i) for i in range(3)]]
    return [first, find.invoke({"what": "between"}), _piece(7).result()]


@entrypoint()
async def async_functional(_):
    first = await asyncio.gather(*(_apiece(i) for i in range(3)))
    return [first, await find.ainvoke({"what": "between"}), await _apiece(7)]


def runnables():
    """No graph at all: a sequence with parallel branches and a batch."""
    right = chat(2) | RunnableLambda(lambda said: find.invoke({"what": said.content[:6]}))
    both = RunnableParallel(left=chat(1), right=right)
    return (
        RunnableLambda(lambda given: given["messages"][0].content)
        | both
        | (lambda found: [found["left"].content, *(m.content for m in chat(3).batch(["p", "q"]))])
    )


_branches = branches()


def many_inputs(_):
    """A graph run for several inputs at once."""
    return [len(one["found"]) for one in _branches.batch([given(), given(), given()])]


async def many_async_inputs(_):
    return [len(one["found"]) for one in await _branches.abatch([given(), given(), given()])]


_streaming = streaming()


def left_early(_):
    """A graph whose stream nobody reads to its end, and one in several modes."""
    for mode, chunk in _streaming.stream(given(), stream_mode=["messages", "updates", "custom"]):
        if mode == "updates":
            return list(chunk)
    return None


async def left_early_async(_):
    live = _streaming.astream(given(), stream_mode=["messages", "updates"])
    async for mode, chunk in live:
        if mode == "updates":
            await live.aclose()
            return list(chunk)
    return None


_agent = agent()
_threads = itertools.count()


def conversation(_):
    """Three turns with one graph that remembers."""
    chatty = _agent.copy({"checkpointer": InMemorySaver()})
    config = {"configurable": {"thread_id": f"turns {next(_threads)}"}}
    turns = [chatty.invoke(given(), config) for _ in range(3)]
    return [len(turn["messages"]) for turn in turns]


# ---- the suite


@dataclass(frozen=True, kw_only=True)
class Case:
    """A shape, how it may be called, and the lanes that its calls lie in: (lane, how many)."""

    agent: Any
    lanes: dict[str, int]
    entries: tuple[str, ...] = ALL
    given: Any = field(default_factory=given)


def _numbered(lane, numbers, count=1):
    return {lane.format(number): count for number in numbers}


INNER = {"one": 1, "two": 1}
_EACH_BRANCH = {"left": 2, "ask": 2, "search": 1, "longer": 1, "join": 1}
CASES = {
    "create_agent": Case(
        agent=_agent, lanes={"root/model": 2, **_numbered("root/tools[{}]/1", range(3))}
    ),
    "branches": Case(
        agent=_branches, lanes={f"root/{name}": count for name, count in _EACH_BRANCH.items()}
    ),
    "subgraphs": Case(
        agent=subgraphs(),
        lanes={
            "root/first/deep/one": 1,
            "root/first/deep/two": 1,
            "root/first/middle": 1,
            "root/second/one": 1,
            "root/second/two": 1,
            "root/last": 1,
        },
    ),
    "subgraphs in a node": Case(
        agent=subgraphs_in_a_node(),
        lanes={"root/outer": 2, "root/outer/one": 3, "root/outer/two": 3, "root/end": 1},
    ),
    "subgraphs in a gather": Case(
        agent=subgraphs_in_a_gather(),
        entries=ASYNC,
        lanes={
            **_numbered("root/outer/{}/one", (1, 2, 3)),
            **_numbered("root/outer/{}/two", (1, 2, 3)),
            "root/end": 1,
        },
    ),
    "fan-out": Case(
        agent=fan_out(),
        lanes={
            "root/plan": 1,
            "root/gathered": 1,
            **{f"root/part[{i}]/leaf[{j}]": 2 for i in range(3) for j in range(2)},
        },
    ),
    "retries": Case(agent=retries(), lanes={"root/trying": 4, "root/calm": 2}),
    "attempts": Case(agent=attempts(), lanes={"root/ask": 6}),
    "streaming": Case(agent=_streaming, lanes={"root/read": 3, "root/end": 1}),
    "batches": Case(agent=batches(), lanes=_numbered("root/many/{}", range(1, 8))),
    "async batches": Case(
        agent=async_batches(), entries=ASYNC, lanes=_numbered("root/many/{}", range(1, 8))
    ),
    "tools": Case(
        agent=tools(),
        lanes={"root/ask": 1, **_numbered("root/tools/{}", (1, 2, 3, 4)), "root/end": 1},
    ),
    "structured": Case(agent=structured(), lanes={"root/judge": 2}),
    "commands": Case(agent=commands(), lanes={"root/turn": 4, "root/up/leave": 1, "root/end": 1}),
    "deferred": Case(
        agent=deferred(), lanes={f"root/{name}": 1 for name in ("one", "two", "three", "last")}
    ),
    "cached": Case(agent=cached, entries=("call",), lanes={"root/slow[0]": 1, "root/other[1]": 2}),
    "functional": Case(
        agent=functional,
        entries=SYNC,
        lanes={"root/functional": 1, **_numbered("root/functional/_piece[{}]", range(4), 2)},
    ),
    "async functional": Case(
        agent=async_functional,
        entries=ASYNC,
        lanes={
            "root/async_functional": 1,
            **_numbered("root/async_functional/_apiece[{}]", range(4), 2),
        },
    ),
    "runnables": Case(
        agent=runnables(), lanes={"root/1": 1, "root/2": 2, "root/3": 1, "root/4": 1}
    ),
    "many inputs": Case(
        agent=many_inputs,
        entries=("call",),
        lanes={
            f"root/{i}/{name}": count for i in (1, 2, 3) for name, count in _EACH_BRANCH.items()
        },
    ),
    "many async inputs": Case(
        agent=many_async_inputs,
        entries=("call",),
        lanes={
            f"root/{i}/{name}": count for i in (1, 2, 3) for name, count in _EACH_BRANCH.items()
        },
    ),
    "left early": Case(agent=left_early, entries=("call",), lanes={"root/read": 3}),
    "left early, async": Case(agent=left_early_async, entries=("call",), lanes={"root/read": 3}),
    "conversation": Case(
        agent=conversation,
        entries=("call",),
        lanes={"root/model": 6, **_numbered("root/tools[{}]/1", range(3), 3)},
    ),
}
# each by its name, as a child imports it: ``graph_agents:cases.NAME``
cases = SimpleNamespace(**{name: case.agent for name, case in CASES.items()})
