"""Every known way around the interception shows as a gap, or stands in the list of the unseen."""

import threading

import pytest
from graph_agents import Streaming, chat, find
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import InMemoryVectorStore
from path_agents import ASKED, SEEN, TOLD, Late, start_thread
from replay_agents import Shelf as Books
from replay_agents import world as the_world
from shelf import Shelf

import workbench as wb
from workbench import errors
from workbench.capture import RecordingWarning


@pytest.fixture
def shelf():
    return Shelf()


@pytest.mark.parametrize("path", TOLD)
def test_what_is_missed_is_told(shelf, world, path):
    with pytest.warns(RecordingWarning, match="not recorded"):
        run = wb.record(shelf, TOLD[path], None)
    assert run.status == "done", run.exception
    assert run.calls.height == 0


def test_what_is_missed_in_a_replay_ends_it(shelf, world):
    seen = []

    def agent(_):
        return TOLD["a tool's entry that was taken before"](None) if seen else None

    run = wb.record(shelf, agent, None)
    seen.append(1)
    result = wb.replay(run, agent)
    assert not result.identical
    assert "capture_gap" in {found.kind for found in result.divergences}
    assert world.calls == 0


# ---- what is seen all the same


@pytest.mark.parametrize("path", SEEN)
def test_what_is_reached_otherwise_is_recorded(shelf, world, path):
    agent, count = SEEN[path]
    run = wb.record(shelf, agent, None)
    assert run.status == "done", run.exception
    assert run.calls.height == count


# ---- what nobody can see: the README says so


def _in_an_empty_context():
    """A thread without our scope: nothing says that it belongs to the run."""
    done, found = threading.Event(), []

    def work():
        found.append(chat().invoke("x").content)
        done.set()

    start_thread(work, ())
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

        start_thread(work, ())
        assert done.wait(10)

    run = wb.record(shelf, agent, None)
    calls = world.calls
    assert not wb.replay(run, agent).identical
    assert world.calls == calls
    assert len(refused) == 1
