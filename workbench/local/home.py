"""The stack's folder: what lies where, with which mode, and what is remembered between starts.

::

    HOME/lock              held by the supervisor as long as it lives
    HOME/supervisor.json   its process, its runtime folder and its parts
    HOME/credentials.json  the database roles' passwords, made once
    HOME/keys.json         one API key per workspace
    HOME/port              the server's last port, taken again so that open stores stay good
    HOME/postgres/         the database
    HOME/objects/          the object store
    HOME/logs/             one file for each part
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.errors import HomeUnreadable
from workbench.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

ROLES = ("owner", "app", "worker", "bench")


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """Paths under one ``WORKBENCH_HOME``."""

    path: Path

    @property
    def database(self) -> Path:
        return self.path / "postgres"

    @property
    def objects(self) -> Path:
        return self.path / "objects"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    def log(self, part: str) -> Path:
        return self.logs / f"{part}.log"

    @property
    def supervisor(self) -> Path:
        return self.path / "supervisor.json"

    @property
    def keys(self) -> Path:
        return self.path / "keys.json"

    @property
    def port(self) -> Path:
        return self.path / "port"


def home_at(path: Path | str | None = None) -> Home:
    """Return the home at this path, else the one the environment names."""
    chosen = Settings.from_environment().home if path is None else Path(path)
    return Home(path=chosen.expanduser().absolute())


@contextmanager
def _readable(home: Home) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise HomeUnreadable(
            f"the stack's folder cannot be used: {error.strerror or error}",
            where=str(error.filename or home.path),
            hint="Choose another folder with --home or WORKBENCH_HOME, or correct its owner and "
            "mode; the folder must be yours to read and write.",
            home=str(home.path),
        ) from error


def prepare(home: Home) -> None:
    """Make the folders that are missing; never touch what lies above the home."""
    with _readable(home):
        home.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in (home.logs, home.objects):
            folder.mkdir(mode=0o700, exist_ok=True)
        _try_writing(home)
        for private in (home.path / "credentials.json", home.keys):
            if private.exists():
                private.chmod(0o600)


def _try_writing(home: Home) -> None:
    probe = home.path / f".probe-{os.getpid()}-{secrets.token_hex(4)}"
    probe.touch(mode=0o600)
    probe.unlink()


@contextmanager
def locked(home: Home, *, name: str, wait: bool) -> Iterator[bool]:
    """Hold a lock file of the home; yields whether it could be taken."""
    with _readable(home):
        handle = os.open(home.path / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        yield _flock(handle, wait=wait)
    finally:
        os.close(handle)


def _flock(handle: int, *, wait: bool) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True


def is_locked(home: Home) -> bool:
    """Say whether a supervisor lives in this home."""
    if not (home.path / "lock").exists():
        return False
    with locked(home, name="lock", wait=False) as free:
        return not free


def read_json(path: Path) -> dict[str, Any]:
    """Return the document, or an empty one where there is none yet."""
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise HomeUnreadable(
            "a file of the stack's folder cannot be read",
            where=str(path),
            hint=f"{error}; stop the stack and remove the file if it is broken.",
        ) from error
    return found if isinstance(found, dict) else {}


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Replace the document at once, for its owner's eyes only."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as stream:
        json.dump(document, stream)
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(path)


def credentials(home: Home) -> dict[str, str]:
    """Return the roles' passwords; made at the first start and then kept."""
    path = home.path / "credentials.json"
    known = read_json(path)
    if not all(role in known for role in ROLES):
        known = {role: known.get(role) or secrets.token_urlsafe(32) for role in ROLES}
        with _readable(home):
            write_json(path, known)
    return known
