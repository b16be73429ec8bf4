"""A writable store of exported folders, and a world that can be poisoned, for replay tests."""

import pytest
from folder_runs import FolderRuns
from replay_agents import world as the_world


@pytest.fixture
def folders(tmp_path):
    """A store whose runs are exported folders: each is read back from its files."""
    return FolderRuns(tmp_path / "runs")


@pytest.fixture
def world(tmp_path):
    """The world the test agents act on: counts calls, keeps a side-effect file, can be poisoned."""
    the_world.reset(tmp_path / "side-effects.txt")
    yield the_world
    the_world.reset(None)
