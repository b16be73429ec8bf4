"""The database: how it is made once, started, and found ready.

Every role, the owner too, logs in with scram over one socket in a private folder; Postgres listens
on no port.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from workbench.errors import StackFailed
from workbench.local import programs, runtime
from workbench.local.account import (
    Account,
    as_nobody,
    database_account,
    dies_with_parent,
    named_account,
)
from workbench.local.processes import program_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from workbench.local.home import Home

DATABASE = "workbench"
_STATE_LINE = 8
_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0600",
    "password_encryption": "scram-sha-256",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # A new file of the write-ahead log grows as it is written. Filled with zeros at once, it would
    # hold every commit up for as long as 16 MB take.
    "wal_init_zero": "off",
    # Statements carry what agents said, and at set-up the roles' passwords: none is logged.
    "log_min_error_statement": "panic",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """One database folder, the account it belongs to, and the programs that serve it."""

    folder: Path
    sockets: Path
    account: Account
    programs: Path
    copy: Path | None


def prepared(home: Home, runtime_folder: Path, *, password: str) -> Cluster:
    """Return the home's cluster, made now if there is none."""
    account = database_account(home.database)
    found, copy = programs.reachable(account)
    cluster = Cluster(
        folder=home.database,
        sockets=runtime_folder / "pg",
        account=account,
        programs=found,
        copy=copy,
    )
    try:
        if not (home.database / "PG_VERSION").exists():
            cluster = _made(cluster, password=password, log=home.log("postgres"))
        _own_folder(cluster.sockets, cluster.account)
    except BaseException:
        forget(cluster)
        raise
    return cluster


def forget(cluster: Cluster) -> None:
    """Remove the copy of the programs, if one was needed."""
    if cluster.copy is not None:
        runtime.remove(cluster.copy)


def _own_folder(folder: Path, account: Account) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)
    if account.is_other:
        os.chown(folder, account.uid, account.gid)


def _made(cluster: Cluster, *, password: str, log: Path) -> Cluster:
    """Run ``initdb`` beside the final place, so that a half-made cluster is never taken up."""
    draft = cluster.folder.with_name("postgres.new")
    for account in (cluster.account, named_account()):
        shutil.rmtree(draft, ignore_errors=True)
        attempt = replace(cluster, folder=draft, account=account)
        _own_folder(draft, account)
        finished = _initdb(attempt, password=password)
        if finished.returncode == 0:
            draft.rename(cluster.folder)
            return replace(attempt, folder=cluster.folder)
        if not account.is_other or account.is_named:
            break
    shutil.rmtree(draft, ignore_errors=True)
    output = (finished.stdout + finished.stderr).strip()
    with log.open("a") as stream:
        stream.write(output + "\n")
    raise StackFailed(
        "the database could not be made",
        where=str(log),
        hint="The last lines were:\n" + "\n".join(output.splitlines()[-8:]),
        part="postgres",
    )


def _initdb(cluster: Cluster, *, password: str) -> subprocess.CompletedProcess[str]:
    with ExitStack() as stack:
        handed = _Handed(cluster.account, stack=stack)
        secret = handed.secret(cluster.folder.with_name(".initdb"), password)
        command = [
            str(cluster.programs / "bin" / "initdb"),
            f"--pgdata={handed.folder(cluster.folder)}",
            f"--pwfile={secret}",
            "--username=workbench_owner",
            "--auth-local=scram-sha-256",
            "--auth-host=reject",
            "--encoding=UTF8",
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--no-instructions",
        ]
        hidden = cluster.account.uid == 0 or not cluster.account.is_named
        return subprocess.run(  # noqa: S603 - our own program  # noqa: PLW1509 - one thread
            command,
            **spawn_options(cluster, handed, hidden=hidden, number=signal.SIGKILL),
            capture_output=True,
            text=True,
            check=False,
        )


class _Handed:
    """Files handed to another user as open descriptors, which need no way through the folders."""

    def __init__(self, account: Account, *, stack: ExitStack) -> None:
        self.account = account
        self.stack = stack
        self.descriptors: list[int] = []

    def folder(self, path: Path) -> str:
        if not self.account.is_other:
            return str(path)
        return self._keep(os.open(path, os.O_RDONLY | os.O_DIRECTORY))

    def secret(self, path: Path, text: str) -> str:
        path.unlink(missing_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        self.stack.callback(path.unlink)
        os.write(handle, text.encode() + b"\n")
        if not self.account.is_other:
            os.close(handle)
            return str(path)
        os.fchown(handle, self.account.uid, self.account.gid)
        return self._keep(handle)

    def _keep(self, handle: int) -> str:
        self.stack.callback(os.close, handle)
        self.descriptors.append(handle)
        return f"/proc/self/fd/{handle}"


def spawn_options(
    cluster: Cluster, handed: _Handed, *, hidden: bool, number: signal.Signals
) -> dict[str, Any]:
    """Return how the cluster's programs are started: as its account, with nothing inherited."""
    last: Callable[[], None] = dies_with_parent(number)
    return {
        **cluster.account.spawn_options(),
        "preexec_fn": as_nobody(cluster.account, last) if hidden else last,
        "pass_fds": tuple(handed.descriptors),
        "cwd": "/",
        "umask": 0o077,
        "env": {"PATH": os.defpath, "LANG": "C", "TZ": "UTC"},
    }


def serving(cluster: Cluster, *, stack: ExitStack) -> tuple[list[str], dict[str, Any]]:
    """Return the command that serves the cluster and how to start it; files close with `stack`."""
    forget_stale_process(cluster)
    handed = _Handed(cluster.account, stack=stack)
    command = [
        str(cluster.programs / "bin" / "postgres"),
        f"-D{handed.folder(cluster.folder)}",
        f"-k{handed.folder(cluster.sockets)}",
    ]
    for name, value in _SETTINGS.items():
        command += ["-c", f"{name}={value}"]
    hidden = cluster.account.uid == 0
    return command, spawn_options(cluster, handed, hidden=hidden, number=signal.SIGINT)


def is_ready(cluster: Cluster, *, pid: int) -> bool:
    """Say whether this server has written that it takes connections."""
    try:
        lines = (cluster.folder / "postmaster.pid").read_text().splitlines()
    except OSError:
        return False
    # The first line is its process, the eighth its state; a killed server leaves both behind.
    return len(lines) >= _STATE_LINE and lines[0] == str(pid) and lines[-1].strip() == "ready"


def forget_stale_process(cluster: Cluster) -> None:
    """Remove the lock of a killed server whose number another program has now.

    Postgres takes any process of its user for a living server. A lock without a process stays: by
    it Postgres sees that backends of a killed server still work.
    """
    lock = cluster.folder / "postmaster.pid"
    try:
        pid = int(lock.read_text().splitlines()[0])
    except (OSError, ValueError, IndexError):
        return
    if program_of(pid) not in {None, "postgres"}:
        lock.unlink()


def address(cluster: Cluster, *, role: str, password: str, database: str = DATABASE) -> str:
    """Return the URL with which a role reaches the database over the socket."""
    host = quote(str(cluster.sockets), safe="")
    return f"postgresql://workbench_{role}:{quote(password, safe='')}@/{database}?host={host}"
