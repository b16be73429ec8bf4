"""The frame of the command line: what is listed, loaded, printed and returned."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

from workbench import cli, errors
from workbench.cli import shell


@pytest.fixture
def command(monkeypatch, capsys):
    """Run the command line in this process; gives (exit code, standard output, standard error)."""

    def run(*arguments: str):
        monkeypatch.setattr(sys, "argv", ["workbench", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = capsys.readouterr()
        return ended.value.code, printed.out, printed.err

    return run


@pytest.fixture
def raising(monkeypatch):
    """Register a command that raises what it is given."""

    def register(error: BaseException) -> None:
        def fail(*, as_json: bool = False) -> None:
            raise error

        module = type(sys)("workbench.cli.failing")
        module.fail = fail
        module.__spec__ = type(sys.__spec__)("workbench.cli.failing", None)
        monkeypatch.setitem(sys.modules, "workbench.cli.failing", module)
        monkeypatch.setitem(cli.COMMANDS, "fail", ("workbench.cli.failing:fail", "Fails."))

    yield register
    shell._exists.cache_clear()


def test_help_lists_every_command_and_loads_none():
    code = (
        "import sys; sys.argv = ['workbench', '--help']\n"
        "from workbench.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "wanted = ('workbench.cli.stack', 'workbench.store', 'polars', 'psycopg', 'rich')\n"
        "print([name for name in wanted if name in sys.modules], file=sys.stderr)\n"
    )
    began = time.monotonic()
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert time.monotonic() - began < 5
    assert ended.stderr.strip() == "[]"
    for name, (_, line) in cli.COMMANDS.items():
        assert f"  {name} " in ended.stdout
        assert line in ended.stdout


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_each_command_has_help_with_an_example_and_json(command, name):
    code, printed, _ = command(name, "--help")
    assert code == 0
    assert "Example" in printed
    assert f"workbench {name}" in printed
    assert "--json" in printed


def test_a_command_whose_module_is_missing_is_not_listed_and_breaks_nothing(command, monkeypatch):
    monkeypatch.setitem(cli.COMMANDS, "later", ("workbench.cli.nowhere:later", "Not yet."))
    code, printed, _ = command("--help")
    assert code == 0
    assert "later" not in printed
    assert command("later")[0] == 2


def test_an_unknown_command_is_wrong_use_and_names_the_nearest(command):
    code, printed, said = command("docter")
    assert (code, printed) == (2, "")
    assert "doctor" in said


def test_the_version_is_printed(command):
    from workbench import __version__

    assert command("--version") == (0, f"workbench {__version__}\n", "")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (errors.Diverged("it differs"), 1),
        (errors.ReportFailed("a cell raised"), 1),
        (errors.UsageError("no"), 2),
        (errors.RunNotFound("no run 'x'"), 2),
        (errors.MalformedFile("broken"), 2),
        (errors.Unavailable("gone"), 3),
        (errors.PortInUse("taken"), 3),
        (errors.HomeUnreadable("closed"), 3),
        (errors.Unauthenticated("who"), 3),
    ],
)
def test_an_error_is_a_sentence_and_an_exit_code(command, raising, error, expected):
    raising(error)
    code, printed, said = command("fail")
    assert (code, printed) == (expected, "")
    assert said == f"workbench: {error.code}: {error}\n"


def test_an_error_of_a_real_command_with_json_is_one_document(command, tmp_path):
    (tmp_path / "file").write_text("")
    code, printed, said = command("up", "--json", "--home", str(tmp_path / "file"))
    problem = json.loads(printed)["error"]
    assert code == 3
    assert problem["code"] == "home_unreadable"
    assert problem["hint"]
    assert "home_unreadable" in said


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("up", "--nonsense", "--json"), "workbench up --help"),
        (("runs", "--limit", "many", "--json"), "workbench runs --help"),
        (("show", "--json"), "workbench show --help"),
        (("docter", "--json"), "workbench --help"),
    ],
)
def test_wrong_use_with_json_is_one_document_as_well(command, arguments, hint):
    code, printed, said = command(*arguments)
    problem = json.loads(printed)["error"]
    assert (code, problem["code"]) == (2, "usage_error")
    assert problem["title"] in said
    assert hint in problem["hint"]


def test_help_of_all_commands_has_an_example(command):
    code, printed, _ = command("--help")
    assert code == 0
    assert "workbench runs --json" in printed


def test_a_foreign_error_keeps_its_traceback(raising, monkeypatch):
    raising(RuntimeError("a defect"))
    monkeypatch.setattr(sys, "argv", ["workbench", "fail"])
    with pytest.raises(RuntimeError, match="a defect"):
        cli.main()


def test_an_interrupt_ends_quietly(command, raising):
    raising(KeyboardInterrupt())
    assert command("fail")[0] == 130


def test_wrong_options_are_wrong_use(command):
    assert command("up", "--port", "0")[0] == 2
    assert command("up", "--nonsense")[0] == 2
    assert command("down", "extra")[0] == 2


def test_migrate_and_worker_say_which_variable_they_need(command, monkeypatch):
    for name, variable in (
        ("migrate", "WORKBENCH_DATABASE_URL"),
        ("worker", "WORKBENCH_WORKER_DATABASE_URL"),
    ):
        monkeypatch.delenv(variable, raising=False)
        code, printed, said = command(name)
        assert (code, printed) == (2, "")
        assert variable in said


def test_migrate_brings_a_database_up_to_date(command, database, monkeypatch):
    monkeypatch.setenv("WORKBENCH_DATABASE_URL", database.owner_url)
    code, printed, _ = command("migrate", "--json")
    assert (code, json.loads(printed)) == (0, {"applied": []})
    monkeypatch.setenv("WORKBENCH_DATABASE_URL", "postgresql://nobody@127.0.0.1:9/none")
    assert command("migrate")[0] == 3


def test_the_stack_goes_up_is_examined_and_goes_down_each_with_one_document(command, tmp_path):
    home = ("--json", "--home", str(tmp_path / "home"))
    try:
        code, printed, _ = command("up", *home)
        up = json.loads(printed)
        assert code == 0
        assert up["url"] == f"http://127.0.0.1:{up['port']}"
        code, printed, _ = command("doctor", *home)
        assert (code, json.loads(printed)["ok"]) == (0, True)
    finally:
        code, printed, _ = command("down", *home)
    assert (code, json.loads(printed)["stopped"]) == (0, True)
    code, printed, _ = command("doctor", *home)
    assert (code, json.loads(printed)["ok"]) == (3, False)
    assert json.loads(command("down", *home)[1])["stopped"] is False


def test_a_reader_that_goes_away_is_no_error():
    code = (
        "from workbench.cli.output import emit\nfor _ in range(9999): emit([1] * 99, as_json=True)"
    )
    ended = subprocess.run(
        f"{sys.executable} -c '{code}' | head -1",
        shell=True,
        check=False,
        capture_output=True,
        text=True,
    )
    assert ended.stdout.count("\n") == 1
    assert ended.stderr == ""
