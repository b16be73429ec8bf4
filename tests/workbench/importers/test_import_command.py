"""``workbench import`` and ``workbench diff`` as a user types them."""

import json
import sys

import pytest
from foreign import dojo, dojo_answer, dojo_ask, dojo_call, tau2, tau2_run, tau_bench, tau_bench_run

from workbench.cli import main


@pytest.fixture
def workbench(server, tmp_path, monkeypatch, capsys):
    """Run the command on the live server; give exit code, standard output and standard error."""
    monkeypatch.setenv("WORKBENCH_URL", server.url)
    monkeypatch.setenv("WORKBENCH_API_KEY", server.api_key)
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path / "no-home"))

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["workbench", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code or 0, *capsys.readouterr()

    return run


@pytest.fixture
def two_runs(tmp_path):
    """A folder with a clean run and one whose tool gave something else back."""
    for attack, answer in (("none", "clean"), ("important_instructions", "poisoned")):
        call = dojo_call("read", {})
        folder = tmp_path / "runs/pipe/banking/user_task_0" / attack
        folder.mkdir(parents=True)
        file = folder / ("none.json" if attack == "none" else "injection_task_0.json")
        file.write_bytes(
            dojo([{"role": "user", "content": "go"}, dojo_ask(call), dojo_answer(answer, call)])
        )
    return tmp_path / "runs"


def test_import_prints_one_document(workbench, two_runs):
    code, out, err = workbench("import", "agentdojo", two_runs, "--json")

    assert (code, err) == (0, "")
    assert json.loads(out) == {
        "runs": 2,
        "stored": 2,
        "messages": 6,
        "tool_calls": 2,
        "tool_errors": 0,
        "unknown_cost_runs": 2,
        "changed": 0,
        "skipped": [],
    }


def test_tool_errors_are_null_where_the_source_has_no_flag(workbench, tmp_path):
    path = tmp_path / "t.json"
    path.write_bytes(tau_bench(tau_bench_run()))

    code, out, _ = workbench("import", "tau-bench", path, "--json")

    assert code == 0
    assert json.loads(out)["tool_errors"] is None


def test_skipped_files_are_listed_and_the_exit_code_is_0(workbench, two_runs):
    (two_runs / "broken.json").write_text("{")

    code, out, err = workbench("import", "agentdojo", two_runs)

    assert code == 0
    assert "2 runs read, 2 stored, 0 changed" in out
    assert "1 skipped" in out
    assert f"skipped {two_runs / 'broken.json'}:1: malformed_file" in err


def test_a_file_of_another_format_exits_with_2_and_names_it(workbench, tmp_path):
    path = tmp_path / "x.json"
    path.write_bytes(tau2(tau2_run()))

    code, out, err = workbench("import", "agentdojo", path, "--json")

    error = json.loads(out)["error"]
    assert code == 2
    assert error["code"] == "unknown_format"
    assert error["details"]["looks_like"] == "tau2"
    assert "Traceback" not in err


@pytest.mark.parametrize("words", [("nonsense", "x.json"), ("agentdojo", "missing.json")])
def test_wrong_use_exits_with_2(workbench, words):
    code, _, err = workbench("import", *words)

    assert code == 2
    assert "Traceback" not in err


def test_diff_prints_the_first_difference(workbench, two_runs):
    workbench("import", "agentdojo", two_runs)
    task = "agentdojo:pipe/banking/user_task_0"
    a, b = f"{task}/none/none.json", f"{task}/important_instructions/injection_task_0.json"

    code, out, err = workbench("diff", a, b, "--json")

    found = json.loads(out)
    assert (code, err) == (0, "")
    assert found["first_divergence"] == {"message_a": 2, "message_b": 2, "kind": "tool_output"}
    assert found["first_action"] is None
    assert workbench("diff", a, b)[1].startswith(
        "First divergence: message 2, what read gave back."
    )
    assert [workbench("diff", *pair, "--exit-code")[0] for pair in ((a, b), (a, a))] == [1, 0]


def test_diff_of_an_unknown_run_names_the_nearest(workbench, two_runs):
    workbench("import", "agentdojo", two_runs)

    code, _, err = workbench("diff", "agentdojo:pipe/banking/user_task_0/none/non.json", "x")

    assert code == 2
    assert "Did you mean agentdojo:pipe/banking/user_task_0/none/none.json" in err
