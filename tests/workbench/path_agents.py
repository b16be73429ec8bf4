"""Ways into models, tools and retrievers: what is seen, and what is missed and told as a gap.

Each is an agent that a child can import: ``path_agents:seen.NAME``, ``path_agents:told.NAME``.
"""

import _thread
import asyncio
import contextvars
import threading
from types import SimpleNamespace

import lane_agents
import replay_agents as agents
from graph_agents import Model, Streaming, chat, find
from langchain_core.callbacks import CallbackManager
from langchain_core.language_models import BaseChatModel, FakeListLLM
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.retrievers import BaseRetriever
from langchain_core.tools import BaseTool
from replay_agents import Shelf as Books
from replay_agents import world as the_world

ASKED = [HumanMessage("x")]

# ---- taken before the recording: the entries of the classes are replaced only while it runs

_invoke, _run = BaseChatModel.invoke, BaseTool.run
_stream, _found = BaseChatModel.stream, BaseRetriever.invoke
_bound, start_thread = chat().invoke, _thread.start_new_thread


def _put_back(_):
    """An agent that puts back what we replaced."""
    replaced = BaseChatModel.invoke
    inner = BaseChatModel._generate_with_cache
    generate = BaseChatModel.generate
    BaseChatModel.invoke = replaced.__wrapped__
    BaseChatModel.generate = generate.__wrapped__
    BaseChatModel._generate_with_cache = inner.__wrapped__
    try:
        return chat().invoke("x").content
    finally:
        BaseChatModel.invoke, BaseChatModel.generate = replaced, generate
        BaseChatModel._generate_with_cache = inner


class Private(Model):
    """A model that is asked by a method of its own, which tells LangChain's callbacks."""

    def ask(self, messages, *, told=None):
        manager = CallbackManager.configure(inheritable_callbacks=None)
        [run] = manager.on_chat_model_start(told or {"name": "Private"}, [messages])
        answer = self._generate(messages)
        run.on_llm_end(answer)
        return answer.generations[0].message.content


TOLD = {
    "a tool's entry that was taken before": lambda _: _run(find, {"what": "x"}),
    "a retriever's entry that was taken before": lambda _: len(_found(Books(), "x")),
    "a stream's entry that was taken before": lambda _: len(list(_stream(Streaming(), "x"))),
    "entries that the agent put back": _put_back,
    "a method of its own": lambda _: Private().ask(ASKED),
    "one that tells a name alone": lambda _: Private().ask(ASKED, told="Private"),
    "a model that is no chat model": lambda _: FakeListLLM(responses=["a"]).invoke("x"),
}
told = SimpleNamespace(**TOLD)


# ---- what is seen all the same


class Inner(Model):
    """A subclass with private methods of its own."""

    def _generate_with_cache(self, messages, stop=None, run_manager=None, **kwargs):
        return ChatResult(generations=[ChatGeneration(message=self._message(messages))])


class Late(BaseTool):
    name: str = "late"
    description: str = "Late."

    def _run(self, **kwargs):
        return the_world.live("late")

    def invoke(self, *_, **kwargs):
        return self._run()


def _future_subclass(_):
    class Own(Inner):
        def invoke(self, *_, **kwargs):
            return AIMessage(f"own {the_world.live('own')}")

        def stream(self, *_, **kwargs):
            yield AIMessage(f"own {the_world.live('own')}")

    return [Own().invoke("x").content, next(Own().stream("y")).content]


def _in_a_bare_thread(_):
    done, found = threading.Event(), []

    def work():
        found.append(chat().invoke("x").content)
        done.set()

    _thread.start_new_thread(contextvars.copy_context().run, (work,))
    assert done.wait(10)
    return found


SEEN = {
    "a model's entry that was taken before": (lambda _: _bound("x").content, 1),
    "a class's entry that was taken before": (lambda _: _invoke(chat(), "x").content, 1),
    "a thread without threading": (_in_a_bare_thread, 1),
    "generate": (lambda _: len(chat().generate([ASKED]).generations), 1),
    "with_cache": (lambda _: len(chat()._generate_with_cache(ASKED).generations), 1),
    "a subclass with private methods": (lambda _: Inner().invoke("x").content, 1),
    "a subclass's own invoke": (lambda _: Late().invoke({}), 1),
    "a subclass made while recording": (_future_subclass, 2),
    "a bound model": (lambda _: chat().bind(stop=["."]).invoke("x").content, 1),
    "a tool without callbacks": (lambda _: find.invoke({"what": "x"}, {"callbacks": []}), 1),
    "a model in a context of its own": (
        lambda _: contextvars.copy_context().run(chat().invoke, "x").content,
        1,
    ),
}
seen = SimpleNamespace(**{name: agent for name, (agent, _) in SEEN.items()})


# ---- every way that a client has


def _model(**settings):
    return agents.StreamingModel(**settings)


def _pipe():
    return agents.Shelf() | (lambda found: found[0].page_content) | _model()


def _left(stream):
    found = next(stream)
    stream.close()
    return found


async def _aleft(stream, many):
    found = [await anext(stream) for _ in range(many)]
    await stream.aclose()
    return found


async def _texts(stream):
    return [chunk.content async for chunk in stream]


async def _first(stream):
    return (await anext(stream)).content


async def _all(stream):
    return [piece async for piece in stream]


CLIENTS = {
    "invoke": lambda q: _model().invoke(q),
    "ainvoke": lambda q: asyncio.run(_model().ainvoke(q)),
    "stream": lambda q: [c.content for c in _model().stream(q)],
    "astream": lambda q: asyncio.run(_texts(_model().astream(q))),
    "cancelled": lambda q: next(iter(_model().stream(q))).content,
    "acancelled": lambda q: asyncio.run(_first(_model().astream(q))),
    "batch": lambda q: _model().batch([q, q, q]),
    "abatch": lambda q: asyncio.run(_model().abatch([q, q])),
    "generate": lambda q: _model().generate([[HumanMessage(q)], [HumanMessage(q)]]),
    "agenerate": lambda q: asyncio.run(_model().agenerate([[HumanMessage(q)]])),
    "with_cache": lambda q: _model()._generate_with_cache([HumanMessage(q)]),
    "bound": lambda q: (
        _model().bind_tools([agents.look_up], tool_choice="any").invoke(q, stop=["x"])
    ),
    "tool_run": lambda q: agents.look_up.run({"order": q}),
    "tool_arun": lambda q: asyncio.run(agents.look_up.arun({"order": q})),
    "tool_call": lambda q: agents.look_up.invoke(
        {"type": "tool_call", "id": "t1", "name": "look_up", "args": {"order": q}}
    ),
    "retriever": lambda q: agents.Shelf().invoke(q),
    "aretriever": lambda q: asyncio.run(agents.Shelf().ainvoke(q)),
    "pipe": lambda q: _pipe().invoke(q),
    "function": lambda q: agents.ask(q)["answer"],
    "coroutine": lambda q: asyncio.run(lane_agents.aask(q)),
    "generator": lambda _: [*lane_agents.pieces(3)],
    "agenerator": lambda _: asyncio.run(_all(lane_agents.apieces(3))),
    "left": lambda _: _left(lane_agents.pieces(3)),
    "aleft": lambda _: asyncio.run(_aleft(lane_agents.apieces(3), 2)),
}
clients = SimpleNamespace(**CLIENTS)
