import nbformat
import pytest

from workbench.errors import MalformedFile, UnknownFormat, UnknownParameter, UsageError
from workbench.report import parameters as cells


def known(notebook):
    path = notebook("pass")
    return cells.declared(cells.read_notebook(path), where="toy.ipynb")


def test_a_parameters_cell_is_read_with_types_defaults_and_comments(notebook):
    found = known(notebook)
    assert [(p.name, p.annotation, p.default, p.help) for p in found.values()] == [
        ("run", "str | None", None, "which run"),
        ("limit", "int", 3, "how many"),
        ("deep", "bool", False, ""),
        ("share", "float | None", None, ""),
    ]


def test_values_are_read_in_the_declared_types(notebook):
    given = {"run": "none", "limit": "7", "deep": "yes", "share": "0.5"}
    assert cells.checked(known(notebook), given, where="toy.ipynb") == {
        "run": None,
        "limit": 7,
        "deep": True,
        "share": 0.5,
    }


def test_an_unknown_parameter_is_refused_and_the_nearest_is_named(notebook):
    with pytest.raises(UnknownParameter) as refused:
        cells.checked(known(notebook), {"limt": 1}, where="toy.ipynb")
    assert refused.value.facts["nearest"] == ["limit"]
    assert "Did you mean limit?" in str(refused.value)


def test_a_value_of_another_type_is_refused(notebook):
    with pytest.raises(UsageError, match=r"limit cannot be read — toy.ipynb — expected int"):
        cells.checked(known(notebook), {"limit": "many"}, where="toy.ipynb")


def test_a_notebook_without_a_parameters_cell_has_none():
    assert cells.declared(nbformat.v4.new_notebook(), where="x") == {}


def test_a_file_that_is_no_notebook_is_refused(tmp_path):
    (tmp_path / "x.ipynb").write_text("nothing")
    with pytest.raises(UnknownFormat):
        cells.read_notebook(tmp_path / "x.ipynb")
    with pytest.raises(UsageError):
        cells.read_notebook(tmp_path / "absent.ipynb")


def test_a_parameters_cell_that_is_not_python_is_refused(notebook):
    path = notebook("pass", parameters="run: =")
    with pytest.raises(MalformedFile):
        cells.declared(cells.read_notebook(path), where="toy.ipynb")


def test_the_help_page_names_every_parameter(notebook):
    page = cells.help_page(known(notebook), name="toy.ipynb")
    assert "-p limit: int = 3" in page
    assert "how many" in page
