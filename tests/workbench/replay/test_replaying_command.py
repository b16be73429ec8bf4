"""``workbench replay`` and ``workbench fork`` on a folder of exported runs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import replay_agents as agents

import workbench as wb

HERE = Path(__file__).parents[1]


@pytest.fixture
def command(request, folders, world, tmp_path):
    """Run a command over one recorded run, of the polling agent; gives (exit code, document)."""
    run = wb.record(folders, getattr(request, "param", agents.polling), "x")
    [folder] = folders.root.iterdir()

    def call(*arguments):
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                "from workbench.cli import main; main()",
                *arguments,
                "--store",
                str(folder),
                "--json",
            ],
            capture_output=True,
            text=True,
            cwd=HERE,
            env={**os.environ, "WORKBENCH_HOME": str(tmp_path / "home")},
            check=False,
        )
        call.said = done.stderr
        return done.returncode, json.loads(done.stdout)

    call.run = run
    return call


def test_replay_exits_with_0_when_identical_and_1_when_not(command):
    code, answer = command("replay", command.run.run_id)
    assert (code, answer["identical"]) == (0, True)
    assert answer["match_levels"] == {"exact": 3}
    assert answer["certificate"]["strength"] in ("isolated", "guarded")
    code, answer = command(
        "replay", command.run.run_id, "--agent", "replay_agents:sequence", "--no-isolate"
    )
    assert (code, answer["status"]) == (1, "diverged")
    assert answer["divergences"][0]["kind"] == "request_changed"
    assert answer["divergences"][0]["seq"] == command.run.calls["seq"][0]


def test_replay_takes_overrides_and_a_budget(command):
    code, answer = command(
        *("replay", command.run.run_id, "--mode", "cached"),
        *("--override", "tool:ask=live", "--budget", "calls=2"),
    )
    assert (code, answer["status"]) == (1, "diverged")
    assert answer["match_levels"] == {"live": 2, "refused": 1}
    assert answer["certificate"]["strength"] == "guarded"
    assert answer["certificate"]["policy"]["overrides"] == {"tool:ask": "live"}
    code, answer = command("replay", command.run.run_id, "--budget", "calls=few")
    assert (code, answer["error"]["code"]) == (2, "usage_error")
    code, answer = command("replay", command.run.run_id, "--override", "ask=live")
    assert (code, answer["error"]["code"]) == (2, "usage_error")


def test_replay_simulates_by_rules_and_writes_its_certificate(command, tmp_path):
    rules, proof = tmp_path / "rules.json", tmp_path / "proof.json"
    rules.write_text(
        json.dumps([{"name": "all", "match": {"/name": "ask"}, "outcome": {"answer": "made up"}}])
    )
    code, answer = command(
        *("replay", command.run.run_id, "--mode", "cached", "--override", "tool:ask=simulated"),
        *("--rules", str(rules), "--certificate", str(proof), "--order", "completed"),
    )
    assert (code, answer["status"]) == (1, "done")
    assert answer["match_levels"] == {"simulated": 3}
    assert json.loads(proof.read_text()) == answer["certificate"]
    code, answer = command("replay", command.run.run_id, "--rules", str(rules))
    assert (code, answer["error"]["code"]) == (2, "usage_error")


def test_fork_edits_plans_and_refuses(command, tmp_path):
    seq = command.run.calls["seq"][1]
    edit = tmp_path / "edit.json"
    edit.write_text(json.dumps({"what": "ready?", "answer": 0}))
    arguments = ("fork", command.run.run_id, "--at", str(seq), "--outcome", f"@{edit}")
    code, plan = command(*arguments, "--plan")
    assert (code, [row["action"] for row in plan["calls"]]) == (0, ["reused", "edited", "reused"])
    code, answer = command(*arguments)
    assert (code, answer["status"]) == (0, "done")
    assert answer["match_levels"] == {"edited": 1, "exact": 2}
    code, answer = command("fork", command.run.run_id, "--at", "1")
    assert (code, answer["error"]["code"]) == (2, "call_not_found")
    code, answer = command(*arguments[:-1], f"@{tmp_path / 'none.json'}")
    assert (code, answer["error"]["code"]) == (2, "usage_error")


@pytest.mark.parametrize("command", ["isolated_agents:lingering"], indirect=True)
def test_a_long_fork_shows_on_standard_error_how_far_it_is(command):
    code, answer = command("fork", command.run.run_id, "--at", str(command.run.calls["seq"][0]))
    assert (code, answer["status"]) == (0, "done")
    assert "fork |" in command.said
    assert "1 of 2 calls" in command.said
