"""The cases act on the world of the replay tests, which lies with them."""

import importlib
import json
import os
import sys
import textwrap
from pathlib import Path

import pytest
from strengths import isolated

sys.path.insert(0, str(Path(__file__).parents[1] / "workbench"))
sys.path.insert(0, str(Path(__file__).parents[1] / "workbench" / "replay"))

import shim_agents
from conformance_agents import CHANGES
from folder_runs import FolderRuns
from replay_agents import BITTEN, POISONED
from replay_agents import world as the_world

import workbench as wb
from workbench.replay import isolation
from workbench.replay.session import ReplaySession


@pytest.fixture
def folders(tmp_path):
    """A store whose runs are exported folders: each is read back from its files."""
    return FolderRuns(tmp_path / "runs")


@pytest.fixture
def world(tmp_path):
    """Where every call counts itself and leaves a line in a file, and which can be poisoned."""
    the_world.reset(tmp_path / "side-effects.txt")
    yield the_world
    the_world.reset(None)


STRENGTHS = [
    "guarded",
    pytest.param(
        "isolated",
        marks=isolated,
    ),
]
TIMES = {
    "guarded": int(os.environ.get("WORKBENCH_REPEAT") or 50),
    "isolated": int(os.environ.get("WORKBENCH_REPEAT_ISOLATED") or 1),
}


@pytest.fixture(params=STRENGTHS)
def strength(request):
    """How the replays of a test are kept from the world."""
    return request.param


@pytest.fixture
def replayed(strength):
    """Replay a run with this strength, and check that the certificate says so."""

    def replay(run, agent=None, **options):
        result = wb.replay(run, agent, isolate=strength == "isolated", **options)
        assert result.certificate["strength"] == strength
        assert result.lost == []
        return result

    return replay


@pytest.fixture
def repeats(strength):
    """Say how often is recorded and replayed where order matters: a child costs about a second."""
    return TIMES[strength]


@pytest.fixture
def poison(world, tmp_path, monkeypatch):
    """Poison the world, here and in every child that begins from now on; and change it.

    What is called all the same is in the list that comes back, whoever caught what was raised.
    """
    file = tmp_path / "bitten.txt"
    file.touch()

    def pour(**changes):
        world.poisoned = True
        vars(world).update(changes)
        shim_agents.poison(monkeypatch.setattr)
        monkeypatch.setattr(isolation, "_KEPT", (*isolation._KEPT, POISONED, BITTEN, CHANGES))
        monkeypatch.setenv(POISONED, "yes")
        monkeypatch.setenv(BITTEN, str(file))
        monkeypatch.setenv(CHANGES, json.dumps(changes))

    pour.bitten = lambda: file.read_text().splitlines()
    return pour


@pytest.fixture
def interception_off(strength, monkeypatch):
    """Answer no call of a replay, as if nothing were intercepted: whatever is called is called."""
    if strength == "guarded":
        monkeypatch.setattr(ReplaySession, "answer", lambda *_: None)
    else:
        monkeypatch.setattr(isolation, "_CHILD", ("-c", UNANSWERED))


UNANSWERED = """
from workbench.replay import child, session
session.ReplaySession.answer = lambda *_: None
child.main()
"""


SOURCES = {
    "plain": """
        from replay_agents import ask

        def agent(given):
            {line}
        """,
    "graph": """
        from typing import Any, TypedDict
        from langgraph.graph import START, StateGraph
        from replay_agents import ask

        class State(TypedDict):
            found: Any

        def work(given):
            {line}

        graph = StateGraph(State)
        graph.add_node("work", lambda state: {{"found": work(state)}})
        graph.add_edge(START, "work")
        agent = graph.compile()
        """,
}


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Write an agent's module, or write it anew with another line."""
    folder = tmp_path / "agents"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))

    def write(side, line):
        source = textwrap.dedent(SOURCES[side]).format(line=line)
        (folder / "changing_agent.py").write_text(source)
        sys.modules.pop("changing_agent", None)
        importlib.invalidate_caches()
        return "changing_agent:agent"

    yield write
    sys.modules.pop("changing_agent", None)
