"""The shipped notebooks are short, run anew without any service, and give the saved outputs."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "notebooks"
NOTEBOOKS = ("01_first_run.ipynb", "02_fork_and_replay.ipynb")


def nbval(path):
    """Run a notebook and compare every output with the saved one, all of it."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("WORKBENCH", "PYTEST"))}
    options = ["-q", "-p", "no:cacheprovider", "--nbval", "--nbval-current-env"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(path)],
        cwd=ROOT,
        env=environment | {"WORKBENCH_URL": "http://127.0.0.1:9"},
        capture_output=True,
        text=True,
        check=False,
    )


def code_of(notebook):
    cells = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    return [source.partition("\n")[2] if source.startswith("%%") else source for source in cells]


@pytest.fixture(params=NOTEBOOKS)
def name(request):
    return request.param


@pytest.fixture
def notebook(name):
    return nbformat.read(FOLDER / name, as_version=4)


def test_a_notebook_gives_its_saved_outputs_again_without_a_service(name):
    ran = nbval(FOLDER / name)
    assert ran.returncode == 0, ran.stdout[-3000:]


def test_another_output_than_the_saved_one_is_noticed(tmp_path):
    notebook = nbformat.read(FOLDER / "01_first_run.ipynb", as_version=4)
    notebook.cells = [c for c in notebook.cells if c.cell_type == "code"][:3]
    notebook.cells[0].source = notebook.cells[0].source.replace("../datasets", f"{ROOT}/datasets")
    counted = notebook.cells[2].outputs[0].data
    counted["text/plain"] = counted["text/plain"].replace("escalated", "escaladed")
    nbformat.write(notebook, tmp_path / "changed.ipynb")
    ran = nbval(tmp_path / "changed.ipynb")
    assert ran.returncode == 1
    assert "escaladed" in ran.stdout


def test_a_notebook_is_short_and_saved_with_outputs(notebook):
    assert len(notebook.cells) <= 25
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code)
    assert not [o for cell in code for o in cell.outputs if o.output_type == "error"]
    assert sum(bool(cell.outputs) for cell in code) >= 6


def test_no_function_of_a_notebook_is_longer_than_five_lines(notebook):
    functions = [
        node
        for source in code_of(notebook)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
    ]
    assert all(f.end_lineno - f.lineno < 5 for f in functions)


def test_a_notebook_asks_one_question_and_has_typed_commented_parameters(notebook):
    assert notebook.cells[0].source.splitlines()[0].endswith("?")
    parameters = [c.source for c in notebook.cells if "parameters" in c.metadata.get("tags", [])]
    assert len(parameters) == 1
    typed = [n for n in ast.parse(parameters[0]).body if isinstance(n, ast.AnnAssign)]
    assert typed
    assert all("#" in parameters[0].splitlines()[n.lineno - 1] for n in typed)


def test_the_gallery_names_every_notebook():
    gallery = (FOLDER / "README.md").read_text()
    shipped = [path.relative_to(FOLDER) for path in sorted(FOLDER.rglob("*.ipynb"))]
    hidden = [path for path in shipped if ".ipynb_checkpoints" in path.parts]
    assert [str(p) for p in shipped if p not in hidden and f"({p})" not in gallery] == []
