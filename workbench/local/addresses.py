"""Which database and object store the stack's parts use, and what their environment says."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit, urlunsplit

from workbench.local.account import dies_with_parent

if TYPE_CHECKING:
    import signal

# The parts get their own addresses and nothing of the caller's, but what says how they work.
_NOT_INHERITED = ("WORKBENCH_", "PG")
_INHERITED = (
    "WORKBENCH_AGENTS", "WORKBENCH_REPLAY_TIMEOUT_S", "WORKBENCH_LOST_AFTER_S",
    "WORKBENCH_INCOMPLETE_AFTER_S",
)  # fmt: skip
_VARIABLES = {
    "owner": "WORKBENCH_DATABASE_URL",
    "app": "WORKBENCH_APP_DATABASE_URL",
    "worker": "WORKBENCH_WORKER_DATABASE_URL",
    "bench": "WORKBENCH_BENCH_DATABASE_URL",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """One URL for each role, and the object store's; the secrets stay out of the repr."""

    urls: dict[str, str] = field(repr=False)
    storage_url: str

    @property
    def owner(self) -> str:
        return self.urls["owner"]

    def environment(self, *roles: str) -> dict[str, str]:
        """Return the environment of a part that may act as these roles."""
        kept = {k: v for k, v in os.environ.items() if _is_inherited(k)}
        own = {_VARIABLES[role]: self.urls[role] for role in roles}
        return {**kept, **own, "WORKBENCH_STORAGE_URL": self.storage_url}


def _is_inherited(variable: str) -> bool:
    return variable in _INHERITED or not variable.startswith(_NOT_INHERITED)


def elsewhere(owner_url: str, *, passwords: dict[str, str]) -> dict[str, str]:
    """Return the roles' URLs on a database that somebody else runs, given its owner's."""
    split = urlsplit(owner_url)
    host = split.netloc.rpartition("@")[2]
    roles = {
        role: urlunsplit(
            split._replace(netloc=f"workbench_{role}:{quote(password, safe='')}@{host}")
        )
        for role, password in passwords.items()
        if role != "owner"
    }
    return {**roles, "owner": owner_url}


def server_command(*arguments: str) -> list[str]:
    """Return how the server's package is run with this Python."""
    # -P: a file called like one of our packages in the working folder is not imported.
    return [sys.executable, "-P", "-m", "workbench_server", *arguments]


def server_options(environment: dict[str, str], *, number: signal.Signals) -> dict[str, Any]:
    """Return how a part in Python is started."""
    return {"env": environment, "cwd": "/", "preexec_fn": dies_with_parent(number)}
