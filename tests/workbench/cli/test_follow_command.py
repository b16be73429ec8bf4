"""``workbench follow``: as text, as lines, as one document."""

import json
import os
import subprocess
import sys
import threading

import pytest
from following import PATIENCE_S
from handmade import exported, short_run
from speaking import event

from workbench import cli
from workbench.errors import RunNotFound


@pytest.fixture
def command(monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["workbench", "follow", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = capsys.readouterr()
        return ended.value.code, printed.out, printed.err

    return run


@pytest.fixture
def run_id(monkeypatch, server, client):
    """A run that goes on, on a server that the environment names."""
    monkeypatch.setenv("WORKBENCH_URL", server.url)
    monkeypatch.setenv("WORKBENCH_API_KEY", server.api_key)
    made = client.create(name="followed")
    first = event("run_started", 1, {"input": 1})
    client.send(
        made, [first, event("step_started", 2, step_id="s", name="lo\x1b[ok", status="running")]
    )
    return made


def end(client, run_id):
    last = event("run_ended", 4, {"writers": {"w": 4}}, status="done", duration_ms=12.3)
    step = event("step_ended", 3, step_id="s", name="look", status="ok", duration_ms=7.6)
    assert client.send(run_id, [step, last]).status_code == 200


def test_each_event_is_a_line(command, client, run_id):
    end(client, run_id)
    code, out, err = command(run_id, "--after", 1)
    assert (code, err) == (0, "")
    assert [line.split() for line in out.splitlines()] == [
        ["2", "00:00:02.000000", "step_started", "lo\ufffd[ok", "running"],
        ["3", "00:00:03.000000", "step_ended", "look", "ok", "8", "ms"],
        ["4", "00:00:04.000000", "run_ended", "done", "12", "ms"],
    ]


def test_lines_are_events_as_json(command, client, run_id):
    end(client, run_id)
    code, out, _ = command(run_id, "--lines")
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [(row["seq"], row["event_type"], row["payload"]) for row in rows[:2]] == [
        (1, "run_started", '{"input":1}'),
        (2, "step_started", "{}"),
    ]
    assert len(rows) == 4


def test_json_is_one_document_when_the_run_has_ended(command, client, run_id):
    timer = threading.Timer(0.3, end, [client, run_id])
    timer.start()
    code, out, _ = command(run_id, "--json")
    timer.join()
    said = json.loads(out)
    assert (code, said["ended"]) == (0, True)
    assert (said["run"]["run_id"], said["run"]["status"]) == (run_id, "done")


def test_a_run_whose_last_event_says_no_time_has_ended_all_the_same(command, client, run_id):
    last = event("run_ended", 3, {"writers": {"w": 3}}, status="failed", started_at=None)
    assert client.send(run_id, [last]).status_code == 200
    code, out, _ = command(run_id, "--json")
    said = json.loads(out)
    assert (code, said["ended"], said["run"]["status"]) == (0, True, "failed")


def test_a_run_that_goes_on_at_the_timeout_exits_with_one(command, run_id):
    code, out, _ = command(run_id, "--timeout", 0.3)
    assert (code, len(out.splitlines())) == (1, 2)


def test_an_unknown_run_is_one_line_and_one_document(command, run_id):
    code, out, err = command("00000000-0000-0000-0000-000000000000", "--json")
    assert (code, json.loads(out)["error"]["code"]) == (2, RunNotFound.code)
    assert "Traceback" not in err


def test_a_run_in_files_is_printed(command, tmp_path):
    folder = exported(tmp_path / "runs", short_run(), source=None)
    code, out, _ = command("00000000-0000-0000-0000-000000000001", "--store", folder)
    assert code == 0
    assert out.splitlines()[-1].split()[2] == "run_ended"


def test_it_ends_when_nobody_reads_any_more(client, run_id):
    following = subprocess.Popen(
        [sys.executable, "-m", "workbench", "follow", run_id],
        stdout=subprocess.PIPE,
        env=dict(os.environ),
    )
    assert following.stdout.readline()
    following.stdout.close()
    client.send(run_id, [event("step_ended", 3, step_id="s", name="look", status="ok")])
    assert following.wait(PATIENCE_S) == 0
