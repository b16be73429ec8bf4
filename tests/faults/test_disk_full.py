"""A full disk: the database's or the object store's. It is refused, told, and taken up again."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from machines import (
    PostgresMachine,
    ServerMachine,
    SmallDisk,
    Stack,
    postgres_machine,
    small_disk,
    stack_on,
    until,
)
from plays import Play, end_all
from writers import Line


@contextmanager
def a_disk(megabytes):
    folder = Path(tempfile.mkdtemp(prefix="wb-disk-"))
    try:
        with small_disk(folder, megabytes=megabytes) as made:
            yield made
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True, kw_only=True)
class Rig:
    """A Postgres whose data and log are on a small disk, and a server on it."""

    disk: SmallDisk
    machine: PostgresMachine
    stack: Stack
    server: ServerMachine


@pytest.fixture(scope="module")
def rig(tmp_path_factory):
    logs = tmp_path_factory.mktemp("logs")
    with a_disk(160) as disk:
        (disk.outside / "postgres").mkdir(mode=0o755)
        shutil.chown(disk.outside / "postgres", "nobody", "nogroup")
        prefix = disk.prefix(unprivileged=True)
        home = disk.inside / "postgres"
        with (
            postgres_machine(home, prefix=prefix, logs=logs) as machine,
            stack_on(machine, tmp_path_factory.mktemp("full")) as stack,
        ):
            yield Rig(disk=disk, machine=machine, stack=stack, server=stack.server())


def is_refused(play):
    return sum(writer.lost for writer in play.writers) > 3 or play.is_over()


def revive(machine):
    """Postgres may end where it cannot write its log, now or in a moment: it is started again."""

    def is_back():
        if machine.process.poll() is not None:
            machine.start()
        try:
            return machine.answers()
        except AssertionError:  # it has ended just now
            return False

    until(is_back, "Postgres accepts connections", every_s=0.02)


def test_a_full_disk_of_the_database_loses_nothing_acknowledged(rig, rng, turn):
    play = Play(stack=rig.stack, servers=[rig.server], rng=rng)
    play.start()
    play.reach(rng.random() * 0.7)
    leave = rng.choice([0, 0, rng.randrange(2**16)])
    until(lambda: rig.disk.fill(leave=leave) or is_refused(play), "it is refused")
    rig.disk.free()
    revive(rig.machine)
    assert play.look() == []
    end_all(play)


def test_the_disk_was_really_full(rig, rng):
    """The refusals of the case above come from the disk, as Postgres says in its log."""
    play = Play(stack=rig.stack, servers=[rig.server], rng=rng)
    before = rig.machine.log.stat().st_size
    play.start(total=1_500)
    until(lambda: rig.disk.fill() or any(w.lost for w in play.writers), "it is refused")
    for writer in play.writers:
        writer.stop()
    rig.disk.free()
    revive(rig.machine)
    with rig.machine.log.open("rb") as log:
        log.seek(before)
        assert b"No space left on device" in log.read()


def test_a_server_that_passes_over_a_full_disk_is_found_out(rig, rng):
    server = rig.stack.server(broken="deaf")
    play = Play(stack=rig.stack, servers=[server], rng=rng)
    play.start(total=1_500)
    play.reach(0.01)
    until(lambda: rig.disk.fill() or "passed over" in server.said(), "the disk is full")
    rig.disk.free()
    revive(rig.machine)
    lost = play.look()
    for writer in play.writers:
        writer.stop()
    assert any("was acknowledged and is not stored" in text for text in lost)


# ---- the object store


@pytest.fixture(scope="module")
def keeping(machine, tmp_path_factory):
    """A server whose object store is a small disk, and its database elsewhere."""
    folder = tmp_path_factory.mktemp("keeping")
    with a_disk(8) as disk:
        (disk.outside / "objects").mkdir(mode=0o755)
        objects = {"WORKBENCH_STORAGE_URL": str(disk.inside / "objects")}
        with stack_on(machine, folder, **objects) as stack:
            yield disk, stack, stack.server(prefix=disk.prefix())


def test_a_full_object_store_keeps_an_artifact_whole_or_not_at_all(keeping, rng, turn):
    disk, stack, server = keeping
    line = Line(lambda: ("127.0.0.1", server.port), stack.workspace.api_key)
    files = [rng.randbytes(rng.randint(1, 300_000)) for _ in range(8)]
    disk.fill(leave=rng.randrange(sum(map(len, files))))
    before = [put(line, data) for data in files]
    kept = [data for data, status in zip(files, before, strict=True) if status == 201]
    assert set(before) <= {201, 503}
    assert before.count(503) > 0
    for data in files:
        status, got = line.send("GET", f"/artifacts/{hashlib.sha256(data).hexdigest()}")
        assert (status, got) == (200, data) if data in kept else status == 404
    disk.free()
    assert [put(line, data) for data in files] == [201] * len(files)
    line.close()
    objects = [path for path in (disk.outside / "objects").rglob("*") if path.is_file()]
    assert [p.name for p in objects if hashlib.sha256(p.read_bytes()).hexdigest() != p.name] == []
    for path in objects:
        path.unlink()


def put(line, data):
    return line.send("PUT", f"/artifacts/{hashlib.sha256(data).hexdigest()}", data)[0]
