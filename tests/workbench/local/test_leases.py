"""A stack that ``wb.open`` started lives as long as somebody needs it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import psycopg
import pytest
from local_homes import until

import workbench as wb
from workbench import local
from workbench.errors import UsageError
from workbench.local.home import credentials, read_json

_KERNEL = """
import sys, time
import workbench as wb
from workbench import local
store = wb.open()
print(local.status(local.home_at())["pid"], store.workspace_id, flush=True)
sys.stdin.read()
"""


def _kernel() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _KERNEL],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def _idle(monkeypatch, seconds: float) -> None:
    monkeypatch.setenv("WORKBENCH_IDLE_SECONDS", str(seconds))


def test_two_kernels_at_once_start_one_stack_and_a_killed_kernel_gives_its_lease_up(
    home, monkeypatch
):
    _idle(monkeypatch, 0.5)
    kernels = [_kernel() for _ in range(3)]
    said = {kernel.stdout.readline() for kernel in kernels}
    assert len(said) == 1
    assert said != {""}
    assert local.status(home)["leases"] == 3
    for kernel in kernels:
        kernel.send_signal(signal.SIGKILL)
        kernel.communicate()
    until(lambda: local.status(home) is None)


def test_a_stack_stays_while_a_store_is_open_and_ends_after_the_last(home, monkeypatch):
    _idle(monkeypatch, 0.5)
    first, second = wb.open(), wb.open()
    first.close()
    time.sleep(1.5)
    assert second.runs().is_empty()
    del second
    until(lambda: local.status(home) is None)


def test_a_stack_with_a_pending_job_stays_and_so_does_one_that_up_took_over(home, monkeypatch):
    _idle(monkeypatch, 0.3)
    with wb.open():
        runtime = read_json(home.supervisor)["runtime"]
        address = f"postgresql://workbench_owner:{credentials(home)['owner']}@/workbench"
        address += f"?host={runtime}/pg&options=-csearch_path%3Djobs"
        with psycopg.connect(address, autocommit=True) as owner:
            owner.execute(
                "insert into procrastinate_jobs (queue_name, task_name, scheduled_at)"
                " values ('workbench', 'later', now() + interval '1 hour')"
            )
    time.sleep(1.5)
    assert local.status(home)["state"] == "ready"
    with psycopg.connect(address, autocommit=True) as owner:
        owner.execute("delete from procrastinate_jobs where task_name = 'later'")
    until(lambda: local.status(home) is None)
    with wb.open():
        local.up(home)
    time.sleep(1.2)
    assert local.status(home)["pinned"]


def test_a_second_workspace_is_made_at_first_use_and_sees_nothing_of_the_first(stack, monkeypatch):
    from workbench.schema import RunHeader

    with wb.open() as first, wb.open(workspace="other one/ü") as second:
        first.create_run(RunHeader(name="only here"))
        assert (first.workspace, second.workspace) == ("default", "other one/ü")
        assert second.runs().is_empty()
        monkeypatch.setenv("WORKBENCH_WORKSPACE", "other one/ü")
        with wb.open() as again:
            assert again.workspace_id == second.workspace_id != first.workspace_id


@pytest.mark.parametrize("name", [" ", "a\nb", "x" * 201])
def test_a_workspace_name_that_makes_no_sense_is_refused(stack, name):
    with pytest.raises(UsageError):
        wb.open(workspace=name)


def test_a_lease_is_given_back_when_opening_fails(stack):
    before = local.status(stack)["leases"]
    with pytest.raises(UsageError):
        wb.open(workspace=" ")
    assert before == local.status(stack)["leases"]
    assert os.environ["WORKBENCH_HOME"] == str(stack.path)
