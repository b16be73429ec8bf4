"""The operating-system account that Postgres runs as.

Postgres refuses to run as root. Under root it gets a user id of its own which nobody else has, and
reaches its folders through open file descriptors (``/proc/self/fd/N``): the home may lie below
folders which that user cannot enter, and none of them changes its mode.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable

# systemd's range for service users without a line in /etc/passwd.
_RANGE = range(61184, 65520)
_CLONE_NEWUSER = 0x10000000
_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_LIBC = ctypes.CDLL(None, use_errno=True)
_HAS_PRCTL = hasattr(_LIBC, "prctl")


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A user id, and whether it is another one than our own."""

    uid: int
    gid: int

    @property
    def is_other(self) -> bool:
        return self.uid != os.geteuid()

    @property
    def is_named(self) -> bool:
        with suppress(KeyError):
            return bool(pwd.getpwuid(self.uid))
        return False

    def spawn_options(self) -> dict[str, Any]:
        """Return what `subprocess.Popen` needs to become this user."""
        if not self.is_other:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": ()}


def own_account() -> Account:
    """Return the account this process runs as."""
    return Account(uid=os.geteuid(), gid=os.getegid())


def database_account(folder: Path) -> Account:
    """Return the account for the database in this folder: the folder's owner once it exists."""
    if os.geteuid() != 0:
        return own_account()
    if folder.exists() and folder.stat().st_uid != 0:
        return Account(uid=folder.stat().st_uid, gid=folder.stat().st_gid)
    return _unused_account(folder)


def _unused_account(folder: Path) -> Account:
    start = zlib.crc32(os.fsencode(folder)) % len(_RANGE)
    mapped = [uid for uid in (*_RANGE[start:], *_RANGE[:start]) if _is_mapped(uid)]
    for uid in mapped:
        candidate = Account(uid=uid, gid=uid)
        if not candidate.is_named:
            return candidate
    # A container that knows root alone: the same user, seen as an ordinary one (`as_nobody`).
    return own_account()


def _is_mapped(uid: int) -> bool:
    try:
        lines = Path("/proc/self/uid_map").read_text().splitlines()
    except OSError:
        return True
    ranges = [tuple(map(int, line.split())) for line in lines]
    return any(first <= uid < first + count for first, _, count in ranges)


def dies_with_parent(number: signal.Signals) -> Callable[[], None]:
    """Return what a child runs before its program starts, so that it never outlives us."""
    parent = os.getpid()

    def arrange() -> None:
        if not _HAS_PRCTL:
            return
        _LIBC.prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return arrange


def as_nobody(account: Account, then: Callable[[], None]) -> Callable[[], None]:
    """Let the child see itself as the user ``nobody``, in a user namespace of its own.

    ``initdb`` looks its user up in /etc/passwd and gives up where there is no line.
    """
    nobody = _uid_of_nobody()

    def arrange() -> None:
        _LIBC.prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)
        if _LIBC.unshare(_CLONE_NEWUSER) != 0:
            os.write(2, b"user namespaces are not allowed here\n")
            os._exit(1)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{nobody} {account.uid} 1")
        Path("/proc/self/gid_map").write_text(f"{nobody} {account.gid} 1")
        then()

    return arrange


def _uid_of_nobody() -> int:
    try:
        return pwd.getpwnam("nobody").pw_uid
    except KeyError:
        return 65534


def named_account() -> Account:
    """Return an unprivileged account that has a line in /etc/passwd."""
    if os.geteuid() != 0:
        return own_account()
    try:
        found = pwd.getpwnam("nobody")
    except KeyError:
        return own_account()
    return Account(uid=found.pw_uid, gid=found.pw_gid)
