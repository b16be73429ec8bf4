"""The browser and JupyterLab that other tests use work."""

import nbformat
import pytest

pytestmark = pytest.mark.ui


def test_a_page_can_show_a_file_and_reaches_nothing_else(page, tmp_path):
    (tmp_path / "x.html").write_text("<title>hello</title>")
    page.goto((tmp_path / "x.html").as_uri())
    assert page.title() == "hello"


def test_a_notebook_runs_in_jupyterlab(lab, lab_page):
    cells = [nbformat.v4.new_code_cell("6 * 7")]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
    nbformat.write(notebook, lab.root / "smoke.ipynb")
    lab.open(lab_page, "smoke.ipynb")
    lab.run_all(lab_page)
    lab_page.wait_for_selector(".jp-OutputArea-output")
    assert lab_page.inner_text(".jp-OutputArea-output") == "42"
    assert lab.evaluate(lab_page, "print(1 + 1)") == "2"
