"""The shipped notebook through the command, and its page in a browser with the network cut."""

import json
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

NOTEBOOK = Path(__file__).parents[3] / "notebooks" / "reports" / "incident.ipynb"


def command(*arguments, cwd):
    # as the installed command, but of this very interpreter
    code = "from workbench.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, "report", *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def made(incidents, tmp_path_factory):
    """The report on one incident, as the command makes it."""
    folder, ids = incidents
    out = tmp_path_factory.mktemp("report")
    done = command(
        NOTEBOOK,
        "-p",
        f"run={ids['false rule']}",
        "--store",
        folder,
        "--to",
        "out",
        "--json",
        cwd=out,
    )
    assert done.returncode == 0, done.stderr
    return out / "out", json.loads(done.stdout), done.stderr


def test_the_command_writes_page_notebook_and_findings(made):
    folder, answer, progress = made
    assert sorted(p.name for p in folder.iterdir()) == [
        "incident.html",
        "incident.ipynb",
        "incident.json",
    ]
    assert (answer["html"], answer["notebook"]) == ("out/incident.html", "out/incident.ipynb")
    assert "report: cell 12 of 12" in progress
    assert json.loads((folder / "incident.json").read_text())["failing_seqs"] == []


def test_an_unknown_parameter_and_an_unknown_run_are_sentences(incidents, tmp_path):
    refused = command(NOTEBOOK, "-p", "rum=1", "--to", "out", cwd=tmp_path)
    assert refused.returncode == 2
    assert "unknown_parameter" in refused.stderr
    assert "Did you mean run?" in refused.stderr
    failed = command(
        NOTEBOOK, "-p", "run=absent", "--store", incidents[0], "--to", "out", cwd=tmp_path
    )
    assert failed.returncode == 1
    assert "RunNotFound: no run 'absent'" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert (tmp_path / "out" / "incident.ipynb").exists()


def test_the_parameters_can_be_asked_for(tmp_path):
    asked = command(NOTEBOOK, "--help-notebook", cwd=tmp_path)
    names = ["run", "since", "until", "baseline", "store", "output"]
    assert [line.split()[1].rstrip(":") for line in asked.stdout.splitlines()[1:]] == names


def test_the_notebook_holds_short_calls_only():
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    assert len(cells) <= 25
    assert all(not cell.outputs for cell in cells if cell.cell_type == "code")
    assert all(len(c.source.splitlines()) <= 6 and "def " not in c.source for c in cells)


@pytest.mark.ui
def test_the_page_opens_offline_and_its_timeline_answers_the_keyboard(page, made):
    page.goto((made[0] / "incident.html").as_uri())
    assert (
        page.title()
        == "false rule: feedback complaint; no error in 4 calls, but rules retrieved other documents than in its baseline (#2)"
    )
    timeline = page.get_by_role("application").first
    timeline.wait_for()
    assert page.locator(".wb-fallback").is_hidden()
    footer = page.locator(".wb-saved [aria-live]").first
    before = footer.text_content()
    assert "#2" in before
    timeline.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("([e, t]) => e.textContent !== t", arg=[footer.element_handle(), before])
    assert "#4" in footer.text_content()


@pytest.mark.ui
@pytest.mark.parametrize("width", [390, 550, 965, 1204])
def test_nothing_overflows(page, made, width):
    page.set_viewport_size({"width": width, "height": 800})
    page.goto((made[0] / "incident.html").as_uri())
    page.get_by_role("application").first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.ui
def test_every_address_in_the_page_is_only_a_name(made):
    """Name spaces are the only addresses; nothing stands where a browser would fetch it."""
    import re

    text = (made[0] / "incident.html").read_text()
    fetched = re.findall(r"""(?:src|href|action|data|poster)\s*=\s*["']?(?!data:)[a-z]+:""", text)
    assert fetched == []
    assert re.findall(r"url\(|@import|import\s*\(\s*[\"']", text) == []
