import json

import nbformat
import pytest

from workbench.errors import ReportFailed, UnknownParameter, UsageError
from workbench.report import run_report

FAILING = 'raise ValueError("too few runs\\nHint: wait")'


def test_a_report_is_executed_with_its_parameters_and_written_twice(notebook, tmp_path):
    said = []
    made = run_report(
        notebook("print(limit + 1)"),
        to=tmp_path / "out",
        parameters={"limit": "7"},
        progress=said.append,
    )
    assert made.parameters == {"limit": 7}
    assert "8" in made.html.read_text()
    assert nbformat.read(made.notebook, as_version=4).cells[-1].outputs[0]["text"] == "8\n"
    assert said[-1].startswith("cell 4 of 4")


def test_a_failing_cell_keeps_notebook_and_page_and_shows_the_error_once(notebook, tmp_path):
    with pytest.raises(ReportFailed, match="ValueError: too few runs") as failed:
        run_report(notebook("1", FAILING, "print('after')"), to=tmp_path / "out")
    assert failed.value.hint == "wait"
    kept = nbformat.read(failed.value.facts["notebook"], as_version=4)
    errors = [o for c in kept.cells for o in c.get("outputs", []) if o.output_type == "error"]
    assert [error.ename for error in errors] == ["ValueError"]
    page = (tmp_path / "out" / "toy.html").read_text()
    assert page.count("This report is not complete.") == 1
    assert "papermill-error" not in json.dumps(kept)


def test_an_unknown_parameter_runs_nothing(notebook, tmp_path):
    with pytest.raises(UnknownParameter):
        run_report(notebook("1"), to=tmp_path / "out", parameters={"baseline": "x"})
    assert not (tmp_path / "out").exists()


def test_a_store_is_refused_by_a_notebook_that_takes_none(notebook, tmp_path):
    with pytest.raises(UnknownParameter, match="'store'"):
        run_report(notebook("1"), to=tmp_path / "out", target="somewhere")


def test_a_report_never_overwrites_its_own_notebook(notebook, tmp_path):
    path = notebook("1")
    before = path.read_bytes()
    with pytest.raises(UsageError, match="overwrite"):
        run_report(path, to=tmp_path)
    assert path.read_bytes() == before
