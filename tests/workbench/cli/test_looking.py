"""``runs``, ``show``, ``label`` and ``export``, in this process."""

import json
import sys

import pytest
from handmade import Log, exported, short_run

from workbench import cli
from workbench.schema import RunHeader
from workbench.store import read

FIRST = "00000000-0000-0000-0000-000000000001"


@pytest.fixture
def command(monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["workbench", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = capsys.readouterr()
        return ended.value.code, printed.out, printed.err

    return run


@pytest.fixture
def folder(tmp_path):
    return exported(tmp_path / "runs", short_run(), short_run(), source=None)


@pytest.fixture
def served(monkeypatch, server, store):
    """The id of a run on a server that the environment names."""
    monkeypatch.setenv("WORKBENCH_URL", server.url)
    monkeypatch.setenv("WORKBENCH_API_KEY", server.api_key)
    log = short_run()
    run_id = store.create_run(RunHeader(name="served", source="test:a"))
    store.append(run_id, log.events, log.bodies)
    return run_id


def test_runs_are_listed(command, folder):
    code, out, _ = command("runs", "--store", folder)

    assert code == 0
    assert [line.split()[:2] for line in out.splitlines()[1:]] == [
        [FIRST[:-1] + "2", "failed"],
        [FIRST, "failed"],
    ]


def test_runs_as_json_are_one_document(command, folder):
    code, out, err = command("runs", "--store", folder, "--name", "run 1", "--json")

    (row,) = json.loads(out)["runs"]
    assert (code, err) == (0, "")
    assert (row["run_id"], row["status"], row["labels"]) == (FIRST, "failed", {})
    assert row["started_at"] == "2026-03-01T12:00:00+00:00"


def test_no_runs_is_said_apart_from_the_answer(command, folder):
    code, out, err = command("runs", "--store", folder, "--status", "done")

    assert (code, out, err) == (0, "", "no runs\n")


def test_a_run_is_shown_with_its_steps_and_what_failed(command, folder):
    code, out, _ = command("show", FIRST, "--store", folder)

    assert code == 0
    assert "calls    3: 2 model, 1 tool" in out
    assert "lacks    1 never came back" in out
    assert "5   40.0  10.0  tool   refund  tools  error" in out
    assert out.splitlines()[-2:] == ["what failed", "  5 tool refund: TimeoutError: too late"]


def test_steps_that_are_not_shown_are_counted(command, folder):
    _, out, _ = command("show", FIRST, "--store", folder, "--steps", 1)

    assert "… and 3 more steps" in out


def test_a_run_as_json_has_its_steps(command, folder):
    _, out, _ = command("show", FIRST, "--store", folder, "--json")

    shown = json.loads(out)
    assert [step["seq"] for step in shown["steps"]] == [2, 4, 5, 8]
    assert [step["error"] for step in shown["failed"]] == ["TimeoutError: too late"]
    assert (shown["input"], shown["output"]) == ({"question": "why?"}, {"answer": None})
    assert shown["coverage"]["unfinished"] == 1


def test_a_name_cannot_move_the_cursor(command, tmp_path):
    log = Log()
    log.begin()
    log.start("tool", "\x1b[2J[bold]x", {})
    folder = exported(tmp_path / "x", log, name="\x1b]0;owned\x07")

    for arguments in (["runs"], ["show", FIRST]):
        _, out, _ = command(*arguments, "--store", folder)
        assert "\x1b" not in out
        assert "owned" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["show", "nope"], "run_not_found: no run 'nope'"),
        (["runs", "--label", "x"], "a label filter is key:value"),
        (["label", FIRST, "a=1"], "read_only"),
        (["label", FIRST], "nothing to change"),
        (["label", FIRST, "a"], "a label is KEY=VALUE"),
        (["export", "--to", "x"], "name the runs to export"),
        (["export", FIRST, "--all", "--to", "x"], "name the runs to export"),
    ],
)
def test_wrong_use_is_a_sentence_and_exit_code_2(command, folder, arguments, said):
    code, out, err = command(*arguments, "--store", folder)

    assert (code, out) == (2, "")
    assert said in err


def test_runs_of_the_server_that_the_environment_names_are_shown(command, served):
    _, out, _ = command("runs", "--source", "test:a", "--json")

    assert json.loads(out)["runs"][0]["run_id"] == served


def test_labels_keep_their_types(command, served):
    code, out, _ = command(
        "label", served, "incident=true", "n=3", "x=1.5", "who=ann", "v=1.2.3", "--json"
    )

    assert code == 0
    assert json.loads(out)["run"]["labels"] == {
        "incident": True, "n": 3, "x": 1.5, "who": "ann", "v": "1.2.3",
    }  # fmt: skip


def test_an_empty_label_is_removed_and_a_name_is_given(command, served):
    command("label", served, "a=1", "b=2")
    _, out, _ = command("label", served, "a=", "--name", "new", "--json")

    row = json.loads(out)["run"]
    assert (row["name"], row["labels"]) == ("new", {"b": 2})


def test_runs_are_exported_and_counted(command, served, tmp_path):
    code, out, _ = command("export", "test:a", "--to", tmp_path / "x", "--json")

    assert code == 0
    assert json.loads(out) == {
        "runs": 1,
        "stored": 1,
        "messages": 2,
        "tool_calls": 1,
        "tool_errors": 1,
        "unknown_cost_runs": 0,
        "changed": 0,
        "skipped": [],
        "folder": str(tmp_path / "x"),
    }
    assert read(tmp_path / "x", verify=True).run(served).name == "served"


def test_every_run_is_exported_and_an_export_replaced_when_asked(command, folder, tmp_path):
    arguments = ["export", "--all", "--store", folder, "--to", tmp_path / "x"]

    codes = [command(*arguments)[0], command(*arguments)[0], command(*arguments, "--overwrite")[0]]

    assert codes == [0, 2, 0]
    assert read(tmp_path / "x").runs().height == 2
