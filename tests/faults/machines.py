"""The parts that break: a durable Postgres, servers and a small disk, each ended by its pid.

A port is chosen by the kernel and held for as long as the part may come back at it: a socket that
is bound but does not listen keeps it from everybody else, and lets the part itself listen there.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from running import (
    Postgres,
    _binaries,
    _database,
    _environment,
    _make_template,
    _reachable,
    _unprivileged,
    make_workspace,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from running import Database, Workspace

PATIENCE_S = 120.0
LOGS: set[Path] = set()
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "on",
    "synchronous_commit": "on",
    "max_connections": 100,
    "shared_buffers": "32MB",
    "max_wal_size": "64MB",
    "timezone": "UTC",
}


def until(said: Callable[[], Any], what: str, *, every_s: float = 0.002) -> Any:
    """Poll until it is true; the deadline is for a machine that hangs, not for one that is busy."""
    deadline = time.monotonic() + PATIENCE_S
    while not (found := said()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited in vain: {what}")
        time.sleep(every_s)
    return found


@contextmanager
def held_port() -> Iterator[int]:
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


def end(process: subprocess.Popen, number: int) -> None:
    """Send a signal and wait; what does not go is killed."""
    if process.poll() is None:
        process.send_signal(number)
    try:
        process.wait(PATIENCE_S)
    finally:
        process.kill()
        process.wait()


# ---- Postgres


@dataclass(kw_only=True)
class PostgresMachine:
    """A Postgres of the suite's own: it forgets nothing it has committed, and can be restarted."""

    install: Path
    data: Path
    log: Path
    port: int
    prefix: list[str]
    environment: dict[str, str]
    postgres: Postgres
    process: subprocess.Popen | None = None

    def start(self) -> None:
        flags = [f"--{name}={value}" for name, value in _SETTINGS.items()]
        LOGS.add(self.log)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *self.prefix,
                    self.install / "bin" / "postgres",
                    "-D",
                    self.data,
                    f"--port={self.port}",
                    *flags,
                ],
                stdout=log,
                stderr=log,
                cwd="/",
                env=self.environment,
                **({} if self.prefix else _unprivileged()),
            )
        until(self.answers, "Postgres accepts connections", every_s=0.02)

    def answers(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"Postgres ended: {self.said()}")
        try:
            psycopg.connect(self.postgres.url, connect_timeout=10).close()
        except psycopg.OperationalError:
            return False
        return True

    def backends(self, *, terminate: bool = False) -> list[int]:
        """Return the processes that serve servers, and end them if asked."""
        wanted = "pg_terminate_backend(pid)" if terminate else "true"
        with self.postgres.owner() as owner:
            rows = owner.execute(
                f"select pid, {wanted} from pg_stat_activity where usename = 'workbench_app'"
            )
            return [pid for pid, _ in rows]

    def starts(self) -> int:
        """Say how often it has come up so far, by itself or not."""
        return self.log.read_text(errors="replace").count("ready to accept connections")

    def said(self) -> str:
        return self.log.read_text(errors="replace")[-2000:]

    def stop(self, number: int = signal.SIGINT) -> None:
        """SIGINT is a fast stop, SIGQUIT an immediate one: a crash, for what is on disk."""
        if self.process is not None:
            end(self.process, number)

    def restart(self, number: int = signal.SIGINT) -> None:
        self.stop(number)
        self.start()


@contextmanager
def postgres_machine(
    home: Path,
    *,
    prefix: list[str] | None = None,
    environment: dict[str, str] | None = None,
    logs: Path | None = None,
) -> Iterator[PostgresMachine]:
    """Make and start one below `home`; `prefix` runs it elsewhere, as in another namespace."""
    environment = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"} | (environment or {})
    run = {} if prefix else _unprivileged()
    install = _reachable(_binaries(), home)
    data = home / "data"
    if run:
        shutil.chown(home, run["user"], run["group"])
    initdb = [install / "bin" / "initdb", "-D", data, "-U", "postgres", "--auth=trust"]
    subprocess.run(
        [*(prefix or []), *initdb, "--no-sync", "--encoding=UTF8", "--locale=C.UTF-8", "--wal-segsize=1", "--set=log_checkpoints=off"],
        check=True, capture_output=True, cwd="/", timeout=PATIENCE_S, **run,
    )  # fmt: skip
    with held_port() as port:
        machine = PostgresMachine(
            install=install,
            data=data,
            log=(logs or home) / "postgres.log",
            port=port,
            prefix=prefix or [],
            environment=environment,
            postgres=Postgres(
                url=f"postgresql://postgres@127.0.0.1:{port}/postgres",
                password=secrets.token_hex(12),
            ),
        )
        machine.start()
        try:
            _make_template(machine.postgres)
            yield machine
        finally:
            machine.stop(signal.SIGQUIT)


# ---- servers


@dataclass(kw_only=True)
class ServerMachine:
    """A server at an address of its own, at which it can be started again and again."""

    port: int
    environment: dict[str, str] = field(repr=False)
    folder: Path
    prefix: list[str] = field(default_factory=list)
    program: list[str] = field(default_factory=lambda: ["-m", "workbench_server"])
    process: subprocess.Popen | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self.folder / f"server-{self.port}.log"

    def start(self) -> None:
        self.launch()
        until(self.listens, "the server listens", every_s=0.02)

    def launch(self) -> None:
        """Start it and do not wait."""
        LOGS.add(self.log)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.prefix, sys.executable, *self.program, "serve", "--port", f"{self.port}"],
                env=self.environment,
                stdout=log,
                stderr=log,
            )

    def listens(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"the server ended: {self.said()}")
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=10).close()
        except OSError:
            return False
        return True

    def said(self) -> str:
        return self.log.read_text(errors="replace")[-3000:]

    def kill(self) -> None:
        """End it as a power cut would: no handler runs."""
        end(self.process, signal.SIGKILL)

    def terminate(self) -> int:
        """Ask it to end, and return how it ended."""
        end(self.process, signal.SIGTERM)
        return self.process.returncode


@dataclass(frozen=True, kw_only=True)
class Stack:
    """A database and workspace for a file's cases, and any number of servers on it."""

    database: Database
    workspace: Workspace
    environment: dict[str, str] = field(repr=False)
    folder: Path
    _parts: ExitStack = field(default_factory=ExitStack, repr=False)

    @property
    def owner_url(self) -> str:
        return self.database.owner_url

    def server(self, *, prefix: list[str] | None = None, broken: str | None = None, **more: str):
        """Start a server; `broken` names a fault of `broken.py` that it has."""
        port = self._parts.enter_context(held_port())
        made = ServerMachine(
            port=port,
            environment=self.environment | more,
            folder=self.folder,
            prefix=prefix or [],
        )
        if broken is not None:
            made.program = [str(Path(__file__).with_name("broken.py")), broken]
        made.start()
        self._parts.callback(made.kill)
        return made


@contextmanager
def stack_on(machine: PostgresMachine, folder: Path, **more: str) -> Iterator[Stack]:
    """Make a database on this Postgres, and end all servers of it at the end."""
    with _database(machine.postgres) as database, ExitStack() as parts:
        yield Stack(
            database=database,
            workspace=make_workspace(database, f"faults-{secrets.token_hex(4)}"),
            environment=_environment(database, folder) | more,
            folder=folder,
            _parts=parts,
        )


# ---- a small disk


@dataclass(frozen=True, kw_only=True)
class SmallDisk:
    """A file system of few megabytes that only programs started with `prefix` see."""

    inside: Path
    outside: Path

    holder: int

    def prefix(self, *, unprivileged: bool = False) -> list[str]:
        enter = ["nsenter", f"--mount=/proc/{self.holder}/ns/mnt"]
        return [*enter, "--setuid=65534", "--setgid=65534"] if unprivileged else enter

    def fill(self, *, leave: int = 0) -> None:
        """Fill what is free now, up to some bytes; others write meanwhile, so it is tried again."""
        with (self.outside / "ballast").open("ab") as ballast:
            while (size := self._free() - leave) > 0:
                try:
                    os.posix_fallocate(ballast.fileno(), ballast.seek(0, os.SEEK_END), size)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise

    def _free(self) -> int:
        found = os.statvfs(self.outside)
        return found.f_bavail * found.f_frsize

    def free(self) -> None:
        (self.outside / "ballast").unlink(missing_ok=True)


@contextmanager
def small_disk(folder: Path, *, megabytes: int) -> Iterator[SmallDisk]:
    """Mount a tmpfs in a namespace of its own; skip where this is not allowed."""
    if os.geteuid() != 0:
        pytest.skip("a disk of its own needs root: nobody else may mount one")
    folder.mkdir(mode=0o755, exist_ok=True)
    mount = f"mount -t tmpfs -o size={megabytes}m,mode=0777 none {folder} && echo ready && exec cat"
    holder = subprocess.Popen(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", mount],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        if not holder.stdout.readline():
            reason = holder.stderr.read().decode(errors="replace").strip()
            pytest.skip(f"this machine mounts no disk for a test: {reason}")
        outside = Path(f"/proc/{holder.pid}/root{folder}")
        yield SmallDisk(inside=folder, outside=outside, holder=holder.pid)
    finally:
        holder.kill()
        holder.communicate()
