"""A recorder whose disk is full, whose spool has reached its bound, or whose payloads are huge."""

from __future__ import annotations

import secrets
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest
from machines import small_disk
from recorders import agent, calls, driven, faults, logs, look, recorded, told, whole
from running import make_workspace

import workbench as wb
from workbench.errors import RecordingFailed
from workbench.spool import SpoolFolder
from workbench.store import connect
from workbench.store.leftovers import flush

FOREVER = 10**9


@pytest.fixture(scope="module")
def server(stack):
    return stack.server()


@pytest.fixture
def workspace(stack):
    return make_workspace(stack.database, f"recorded-{secrets.token_hex(4)}")


@pytest.fixture
def spool(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_SPOOL", str(tmp_path / "spool"))
    return SpoolFolder(tmp_path / "spool")


@pytest.fixture
def store(server, workspace, spool):
    with connect(server.url, workspace.api_key) as opened:
        yield opened


@contextmanager
def away(server):
    server.kill()
    try:
        yield
    finally:
        server.start()


# ---- full


@pytest.fixture(scope="module")
def disk():
    folder = Path(tempfile.mkdtemp(prefix="wb-spool-"))
    try:
        with small_disk(folder, megabytes=4) as made:
            yield made
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def on_disk(disk, server, workspace):
    """Start agents whose spool is on the small disk."""

    def start(on_error):
        prefix = tuple(disk.prefix())
        spool = disk.inside / "spool"
        return driven(server.url, workspace.api_key, spool, on_error=on_error, prefix=prefix)

    yield start
    disk.free()
    shutil.rmtree(disk.outside / "spool", ignore_errors=True)


def test_what_a_full_disk_does_not_take_is_kept_until_it_does(
    stack, server, workspace, disk, on_disk
):
    with on_disk("open") as working:
        working.calls(50)
        disk.fill()
        working.calls(50)
        disk.free()
        working.calls(50)
        said = working.end()
    assert said == {"error": None, "warned": []}
    ((run_id, rows),) = logs(stack.owner_url, workspace).items()
    assert faults(stack.owner_url, workspace, run_id) == []
    assert calls(rows) == whole(150)


def test_what_a_full_disk_never_takes_is_counted(stack, server, workspace, disk, on_disk):
    with on_disk("open") as working:
        working.calls(50)
        disk.fill()
        assert working.calls(50) == {"made": 100}
        said = working.end()
    (warned,) = said["warned"]
    assert said["error"] is None
    assert "events could not be stored" in warned
    assert "the disk is full" in warned
    ((run_id, rows),) = logs(stack.owner_url, workspace).items()
    assert faults(stack.owner_url, workspace, run_id) == []
    lost = int(warned.split(" events could")[0].split()[-1])
    assert len(rows) + lost == 3 + 2 * 100


def test_whoever_wants_it_is_stopped_by_a_full_disk(disk, on_disk):
    with on_disk("closed") as working:
        working.calls(50)
        disk.fill()
        working.process.stdin.write("1000000\n")
        said = working.end()
    assert said["error"] == "RecordingFailed"


# ---- the bound


def test_whoever_wants_it_is_stopped_by_the_bound(server, store, spool, monkeypatch):
    monkeypatch.setenv("WORKBENCH_SPOOL_BYTES", "30000")
    work, made = agent(FOREVER, text="x" * 1000)
    with away(server), told() as said, pytest.raises(RecordingFailed):
        wb.record(store, work, None, on_error="closed")
    assert 0 < len(made) < FOREVER
    assert "wait on this machine's disk" in said[0]
    assert spool.size() < 40_000
    assert flush(store.outlet(), spool).left == {}


def test_what_the_bound_does_not_take_is_kept_until_there_is_room(
    stack, server, workspace, tmp_path, monkeypatch
):
    monkeypatch.setenv("WORKBENCH_SPOOL_BYTES", "30000")
    with driven(server.url, workspace.api_key, tmp_path / "spool") as working:
        working.calls(10)
        with away(server):
            assert working.calls(50) == {"made": 60}
        working.calls(10)
        said = working.end()
    assert said == {"error": None, "warned": []}
    ((run_id, rows),) = logs(stack.owner_url, workspace).items()
    assert faults(stack.owner_url, workspace, run_id) == []
    assert calls(rows) == whole(70)


# ---- huge


def test_a_payload_of_ten_megabytes_is_stored_whole(stack, workspace, store, spool):
    run, said = recorded(store, lambda _: look(1, "x" * 10 * 2**20)["number"])
    assert said == []
    assert faults(stack.owner_url, workspace, run.run_id) == []
    assert [row["quality"] for row in logs(stack.owner_url, workspace)[run.run_id]][2] == "full"
    assert bytes(run.event_log()[2].payload).count(b"x") >= 10 * 2**20


def test_what_the_server_never_takes_gives_way_to_a_stub(stack, workspace, store, spool):
    store.administration.change_limits({"body_bytes": 2**20, "unpacked_bytes": 2**20})

    def work(_):
        look(1, "small")
        look(2, "x" * 2**21)
        return look(3, "small")["number"]

    run, said = recorded(store, work)
    assert "2 events are stored without their contents" in said[0]
    assert faults(stack.owner_url, workspace, run.run_id) == []
    rows = logs(stack.owner_url, workspace)[run.run_id]
    assert calls(rows) == whole(3)
    truncated = [
        (row["ordinal"], row["event_type"]) for row in rows if row["quality"] == "truncated"
    ]
    assert truncated == [(2, "call_started"), (2, "call_ended")]
    assert b"limit_exceeded" in bytes(run.event_log()[4].payload)
    assert spool.paths() == []
