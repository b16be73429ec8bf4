"""The cases act on the world of the replay tests, which lies with them."""

import importlib
import json
import sys
import textwrap
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "workbench"))
sys.path.insert(0, str(Path(__file__).parents[1] / "workbench" / "replay"))

from conformance_agents import CHANGES
from folder_runs import FolderRuns
from replay_agents import POISONED
from replay_agents import world as the_world

from workbench.replay import isolation


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


@pytest.fixture
def poison(world, monkeypatch):
    """Poison the world, here and in every child that begins from now on; and change it."""

    def pour(**changes):
        world.poisoned = True
        vars(world).update(changes)
        monkeypatch.setattr(isolation, "_KEPT", (*isolation._KEPT, POISONED, CHANGES))
        monkeypatch.setenv(POISONED, "yes")
        monkeypatch.setenv(CHANGES, json.dumps(changes))

    return pour


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
