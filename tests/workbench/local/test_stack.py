"""The stack from the outside: it comes up, keeps its secrets, and goes."""

from __future__ import annotations

import json
import os
import random
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import psutil
import psycopg
import pytest
from local_homes import is_alive, until
from strengths import isolated

import workbench as wb
from workbench import local
from workbench.examples.support_desk import draw_case
from workbench.local.home import credentials
from workbench.local.home import read_json as read

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _sockets(home) -> Path:
    return Path(read(home.supervisor)["runtime"]) / "pg"


def test_a_fresh_home_comes_up_and_down_leaves_no_process(home):
    began = time.monotonic()
    state = local.up(home)
    took = time.monotonic() - began
    pids = [state["pid"], *(part["pid"] for part in state["parts"].values())]
    runtime = Path(read(home.supervisor)["runtime"])
    assert took < 60  # two seconds on a quiet machine
    assert {"postgres", "server", "worker"} == set(state["parts"])
    assert local.down(home)
    assert not any(is_alive(pid) for pid in pids)
    assert not runtime.exists()
    assert not local.down(home)


def test_every_finding_of_doctor_is_good_for_a_running_stack(stack):
    findings = local.doctor(stack)
    reached = ["database", "migrations", "storage", "jobs"]
    names = ["home", "programs", "supervisor", "postgres", "server", "worker", *reached]
    assert names == [finding.name for finding in findings]
    assert all(finding.ok for finding in findings), findings


@isolated
def test_the_worker_replays_the_agents_that_the_environment_names(home, monkeypatch):
    name = "workbench.examples.support_desk:agent"
    monkeypatch.setenv("WORKBENCH_AGENTS", json.dumps({"support": {"target": name}}))
    case = draw_case(random.Random(7))
    with wb.open() as store:
        run = wb.record(store, name, case.input)
        assert wb.replay(run, "support", on="server").identical


def test_doctor_says_what_to_do_when_nothing_runs(home):
    last = local.doctor(home)[-1]
    assert not last.ok
    assert "workbench up" in str(last.hint)


def test_everything_in_the_home_is_for_its_owner_alone(stack):
    with wb.open():
        pass
    files = [path for path in stack.path.iterdir() if path.is_file()]
    assert {"credentials.json", "keys.json"} <= {path.name for path in files}
    assert {0o600} == {_mode(path) for path in files}
    folders = [stack.path, stack.logs, stack.objects, stack.database, _sockets(stack).parent]
    assert {0o700} == {_mode(path) for path in (*folders, _sockets(stack))}
    assert {0o600} == {_mode(path) for path in stack.logs.iterdir()}


def test_no_secret_is_in_a_log_a_command_line_or_the_state(stack):
    with wb.open():
        pass
    secrets = [*credentials(stack).values(), *read(stack.keys).values()]
    state = local.status(stack)
    pids = [state["pid"], *(part["pid"] for part in state["parts"].values())]
    said = "".join(log.read_text() for log in stack.logs.iterdir()) + json.dumps(state)
    said += "".join(Path(f"/proc/{pid}/cmdline").read_text() for pid in pids)
    assert len(secrets) >= 5
    assert not [secret for secret in secrets if secret in said]


def test_postgres_listens_on_no_port(stack):
    pid = local.status(stack)["parts"]["postgres"]["pid"]
    with psycopg.connect(_address(stack, "owner")) as connection:
        assert connection.execute("show listen_addresses").fetchone() == ("",)
    assert not psutil.Process(pid).net_connections(kind="inet")


def _address(home, role: str, password: str | None = None) -> str:
    secret = credentials(home)[role] if password is None else password
    return f"postgresql://workbench_{role}:{secret}@/workbench?host={_sockets(home)}"


@pytest.mark.parametrize("role", ["owner", "app", "worker", "bench"])
def test_no_role_gets_in_without_its_own_password(stack, role):
    for wrong in ("", "guess", "postgres"):
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(_address(stack, role, wrong)).close()


def test_the_server_role_cannot_see_past_its_workspace(stack):
    with psycopg.connect(_address(stack, "app")) as connection:
        with pytest.raises(psycopg.Error):
            connection.execute("select count(*) from runs")
        connection.rollback()
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("select key_hash from api_keys")


@needs_root
def test_another_user_is_refused_at_the_socket(stack):
    address = _address(stack, "owner")
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:  # in the child: libpq is loaded already, so no file need be readable
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
        try:
            psycopg.connect(address)
            told = b"connected"
        except psycopg.OperationalError as error:
            told = str(error).encode()
        os.write(writer, told)
        os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    told = os.read(reader, 2000).decode()
    os.close(reader)
    assert "Permission denied" in told


@needs_root
def test_as_root_postgres_runs_as_a_user_of_its_own_with_no_privilege(stack):
    pid = local.status(stack)["parts"]["postgres"]["pid"]
    lines = dict(
        line.split(":\t", 1)
        for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        if ":\t" in line
    )
    uids = set(lines["Uid"].split())
    assert "0" not in uids
    assert {"0000000000000000"} == {lines["CapEff"], lines["CapPrm"], lines["CapAmb"]}
    assert str(stack.database.stat().st_uid) in uids


def test_foreground_ends_with_the_signal_of_ctrl_c(home):
    code = "from workbench.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "up", "--foreground"], stderr=subprocess.PIPE
    )
    until(lambda: (local.status(home) or {}).get("state") == "ready")
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 0
    assert b"stopped" in said
