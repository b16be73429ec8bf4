"""Every known way around the interception shows as a gap, or stands in the list of the unseen."""

import _thread
import contextvars
import threading

import pytest
from graph_agents import Model, Streaming, chat, find
from langchain_core.callbacks import CallbackManager
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel, FakeListLLM
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.retrievers import BaseRetriever
from langchain_core.tools import BaseTool
from langchain_core.vectorstores import InMemoryVectorStore
from replay_agents import Shelf as Books
from replay_agents import world as the_world
from shelf import Shelf

import workbench as wb
from workbench import errors
from workbench.capture import RecordingWarning

ASKED = [HumanMessage("x")]


@pytest.fixture
def shelf():
    return Shelf()


# ---- taken before the recording: the entries of the classes are replaced only while it runs

_invoke, _run = BaseChatModel.invoke, BaseTool.run
_stream, _found = BaseChatModel.stream, BaseRetriever.invoke
_bound, _start = chat().invoke, _thread.start_new_thread


def _put_back():
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
    "a tool's entry that was taken before": lambda: _run(find, {"what": "x"}),
    "a retriever's entry that was taken before": lambda: len(_found(Books(), "x")),
    "a stream's entry that was taken before": lambda: len(list(_stream(Streaming(), "x"))),
    "entries that the agent put back": _put_back,
    "a method of its own": lambda: Private().ask(ASKED),
    "one that tells a name alone": lambda: Private().ask(ASKED, told="Private"),
    "a model that is no chat model": lambda: FakeListLLM(responses=["a"]).invoke("x"),
}


@pytest.mark.parametrize("path", TOLD)
def test_what_is_missed_is_told_and_the_run_refused_in_exact(shelf, world, path):
    with pytest.warns(RecordingWarning, match="not recorded"):
        run = wb.record(shelf, lambda _: TOLD[path](), None)
    assert run.status == "done", run.exception
    assert run.calls.height == 0
    with pytest.raises(errors.RecordingIncomplete, match="was not recorded"):
        wb.replay(run, lambda _: TOLD[path]())


def test_what_is_missed_in_a_replay_ends_it(shelf, world):
    seen = []

    def agent(_):
        return TOLD["a tool's entry that was taken before"]() if seen else None

    run = wb.record(shelf, agent, None)
    seen.append(1)
    result = wb.replay(run, agent)
    assert not result.identical
    assert "capture_gap" in {found.kind for found in result.divergences}
    assert world.calls == 0


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


def _future_subclass():
    class Own(Inner):
        def invoke(self, *_, **kwargs):
            return AIMessage(f"own {the_world.live('own')}")

        def stream(self, *_, **kwargs):
            yield AIMessage(f"own {the_world.live('own')}")

    return [Own().invoke("x").content, next(Own().stream("y")).content]


def _in_a_bare_thread():
    done, found = threading.Event(), []

    def work():
        found.append(chat().invoke("x").content)
        done.set()

    _thread.start_new_thread(contextvars.copy_context().run, (work,))
    assert done.wait(10)
    return found


SEEN = {
    "a model's entry that was taken before": (lambda: _bound("x").content, 1),
    "a class's entry that was taken before": (lambda: _invoke(chat(), "x").content, 1),
    "a thread without threading": (_in_a_bare_thread, 1),
    "generate": (lambda: len(chat().generate([ASKED]).generations), 1),
    "with_cache": (lambda: len(chat()._generate_with_cache(ASKED).generations), 1),
    "a subclass with private methods": (lambda: Inner().invoke("x").content, 1),
    "a subclass's own invoke": (lambda: Late().invoke({}), 1),
    "a subclass made while recording": (_future_subclass, 2),
    "a bound model": (lambda: chat().bind(stop=["."]).invoke("x").content, 1),
    "a tool without callbacks": (lambda: find.invoke({"what": "x"}, {"callbacks": []}), 1),
    "a model in a context of its own": (
        lambda: contextvars.copy_context().run(chat().invoke, "x").content,
        1,
    ),
}


@pytest.mark.parametrize("path", SEEN)
def test_what_is_reached_otherwise_is_recorded_and_replayed(shelf, world, path):
    call, count = SEEN[path]
    run = wb.record(shelf, lambda _: call(), None)
    assert run.status == "done", run.exception
    assert run.calls.height == count
    world.poisoned = True
    assert wb.replay(run, lambda _: call()).identical


# ---- what nobody can see: the README says so


def _in_an_empty_context():
    """A thread without our scope: nothing says that it belongs to the run."""
    done, found = threading.Event(), []

    def work():
        found.append(chat().invoke("x").content)
        done.set()

    _start(work, ())
    assert done.wait(10)
    return found


class Near(Embeddings):
    """Embeddings tell LangChain's callbacks nothing."""

    def embed_documents(self, texts):
        return [[1.0] for _ in texts]

    def embed_query(self, text):
        return [float(the_world.live("near"))]


UNSEEN = {
    "an embedding": lambda: Near().embed_query("x"),
    "a vector store without its retriever": lambda: InMemoryVectorStore(Near()).similarity_search(
        "x"
    ),
    "the function of a tool": lambda: find.func("x"),
    "a tool's _run": lambda: Late()._run(),
    "a model's _generate": lambda: len(chat()._generate(ASKED).generations),
    "a model's _stream": lambda: len(list(Streaming()._stream(ASKED))),
    "a retriever's _get_relevant_documents": lambda: len(
        Books()._get_relevant_documents("x", run_manager=None)
    ),
    "a thread made by what was taken before, in an empty context": _in_an_empty_context,
}


@pytest.mark.parametrize("path", UNSEEN)
def test_what_cannot_be_seen_is_this_and_no_more(shelf, world, path):
    run = wb.record(shelf, lambda _: UNSEEN[path]() and None, None)
    assert world.calls == 1
    assert run.calls.height == 0, "it is seen now: take it out of the list"


def test_a_public_entry_without_a_session_is_refused_while_a_replay_runs(shelf, world):
    refused = []

    def agent(_):
        done = threading.Event()

        def work():
            try:
                chat().invoke("x")
            except errors.LiveCallBlocked as error:
                refused.append(error)
            done.set()

        _start(work, ())
        assert done.wait(10)

    run = wb.record(shelf, agent, None)
    calls = world.calls
    assert not wb.replay(run, agent).identical
    assert world.calls == calls
    assert len(refused) == 1
