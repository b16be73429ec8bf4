"""Runs to report on, and notebooks to execute."""

import nbformat
import pytest
from incident_runs import write

PARAMETERS = """run: str | None = None  # which run
limit: int = 3  # how many
deep: bool = False
share: float | None = None
"""


@pytest.fixture(scope="session")
def incidents(tmp_path_factory):
    """A folder of exported runs, and their ids by name."""
    return write(tmp_path_factory.mktemp("incidents"))


@pytest.fixture
def notebook(tmp_path):
    """Write a notebook with a parameters cell and the given code cells; return its path."""

    def written(*cells, name="toy.ipynb", parameters=PARAMETERS):
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        made = nbformat.v4.new_notebook(metadata={"kernelspec": kernel})
        first = nbformat.v4.new_code_cell(parameters)
        first.metadata["tags"] = ["parameters"]
        about = nbformat.v4.new_markdown_cell("only here")
        about.metadata["tags"] = ["notebook-only"]
        made.cells = [about, first, *map(nbformat.v4.new_code_cell, cells)]
        nbformat.write(made, tmp_path / name)
        return tmp_path / name

    return written
