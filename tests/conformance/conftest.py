"""The cases act on the world of the replay tests, which lies with them."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "workbench"))

from folder_runs import FolderRuns
from replay_agents import world as the_world


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
