"""Parts that are killed come back; a killed supervisor leaves nothing that the next start minds."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import psutil
import pytest
from local_homes import is_alive, until

import workbench as wb
from workbench import local
from workbench.errors import StackFailed
from workbench.local.home import read_json
from workbench.schema import RunHeader


def _part(home, name: str) -> dict:
    return local.status(home)["parts"][name]


@pytest.mark.parametrize("name", ["postgres", "server", "worker"])
def test_a_part_that_is_killed_is_started_again_and_nothing_stored_is_lost(stack, name):
    with wb.open() as store:
        run_id = store.create_run(RunHeader(name=f"before {name}"))
    before = _part(stack, name)
    os.kill(before["pid"], signal.SIGKILL)
    until(lambda: _part(stack, name)["restarts"] > before["restarts"])
    until(lambda: all(finding.ok for finding in local.doctor(stack)))
    after = _part(stack, name)
    assert after["pid"] != before["pid"]
    assert after["last_exit"] in {"killed by SIGKILL", "exit code 1"}
    with wb.open() as store:
        assert store.run(run_id).name == f"before {name}"


def test_a_killed_database_process_of_one_connection_does_not_end_the_stack(stack):
    server = psutil.Process(_part(stack, "postgres")["pid"])
    backend = next(c for c in server.children() if "workbench_app" in "".join(c.cmdline()))
    backend.kill()
    until(lambda: all(finding.ok for finding in local.doctor(stack)))
    with wb.open() as store:
        assert store.runs() is not None


def test_the_parts_of_a_killed_supervisor_die_with_it_and_the_next_start_recovers(home):
    state = local.up(home)
    with wb.open() as store:
        run_id = store.create_run(RunHeader(name="kept"))
    parts = [part["pid"] for part in state["parts"].values()]
    os.kill(state["pid"], signal.SIGKILL)
    until(lambda: not any(is_alive(pid) for pid in parts))
    assert local.status(home) is None
    with wb.open() as store:
        assert store.run(run_id).name == "kept"
        assert store.address == state["url"]
        os.kill(local.status(home)["pid"], signal.SIGKILL)
    folders = [Path(path) for path in read_json(home.supervisor)["folders"]]
    local.down(home)
    assert not home.supervisor.exists()
    assert not any(path.exists() for path in folders)


def test_a_hung_supervisor_is_ended_by_down(home, monkeypatch):
    monkeypatch.setattr("workbench.local.running._PATIENCE_S", 0.5)
    monkeypatch.setattr("workbench.local.running._GRACE_S", 0.5)
    monkeypatch.setattr("workbench.local.recovery._PATIENCE_S", 0.5)
    state = local.up(home)
    os.kill(state["pid"], signal.SIGSTOP)
    assert local.down(home)
    until(lambda: not is_alive(state["pid"]))
    assert not any(is_alive(part["pid"]) for part in state["parts"].values())


def test_a_stack_whose_home_is_removed_ends(home):
    state = local.up(home)
    shutil.rmtree(home.path, ignore_errors=True)  # Postgres removes files of its own meanwhile
    pids = [state["pid"], *(part["pid"] for part in state["parts"].values())]
    until(lambda: not any(is_alive(pid) for pid in pids))


def test_a_part_that_does_not_come_up_is_named_with_the_end_of_its_log(home, monkeypatch):
    monkeypatch.setenv("WORKBENCH_STORAGE_URL", "nosuchscheme://bucket")
    with pytest.raises(StackFailed) as caught:
        local.up(home)
    assert caught.value.facts["part"] == "server"
    assert str(home.log("server")) == caught.value.where
    assert "nosuchscheme" in str(caught.value.hint)
    assert local.status(home) is None


def test_a_database_that_cannot_be_made_leaves_nothing_half_made(home, monkeypatch):
    home.path.mkdir()
    (home.path / "postgres.new").write_text("not a folder")
    with pytest.raises(StackFailed):
        local.up(home)
    assert not home.database.exists()


def test_a_restart_keeps_the_port_and_minds_no_stale_lock_of_postgres(home):
    first = local.up(home)["port"]
    local.down(home)
    # A killed server's number, which another program has now.
    (home.database / "postmaster.pid").write_text(f"{os.getpid()}\n{home.database}\n")
    if os.geteuid() == 0:
        owner = home.database.stat()
        os.chown(home.database / "postmaster.pid", owner.st_uid, owner.st_gid)
    assert first == local.up(home)["port"]
