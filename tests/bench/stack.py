"""The stack that is measured: the product's own, in a home of its own, as `workbench up` makes it.

Its Postgres syncs every commit to the disk, as a user's does.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

import httpx
import psycopg

from workbench import local
from workbench.local.home import Home, read_json

_WORKSPACE = "bench"


@dataclass(frozen=True, kw_only=True)
class Stack:
    """A running stack: addresses, a key, and the processes to look at."""

    url: str
    home: Home
    api_key: str
    server_pid: int
    postgres_pid: int
    app_url: str
    bench_url: str
    owner_url: str

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.api_key}"}

    def client(self, **options) -> httpx.Client:
        return httpx.Client(base_url=f"{self.url}/v1", headers=self.headers, timeout=60, **options)

    def owner(self) -> psycopg.Connection:
        return psycopg.connect(self.owner_url, autocommit=True)

    def workspace_id(self) -> str:
        with self.client() as client:
            return client.get("/health").json()["workspace"]["id"]

    def memory(self) -> dict[str, float]:
        """Return the web process's memory in MB: now, and at its highest."""
        lines = Path(f"/proc/{self.server_pid}/status").read_text().splitlines()
        facts = dict(line.split(":", 1) for line in lines if line.startswith(("VmRSS", "VmHWM")))
        return {
            "now": int(facts["VmRSS"].split()[0]) / 1000,
            "peak": int(facts["VmHWM"].split()[0]) / 1000,
        }

    def forget_peak(self) -> None:
        """Begin a new count of the web process's highest memory."""
        Path(f"/proc/{self.server_pid}/clear_refs").write_text("5")


@contextmanager
def running():
    """Start a stack in a new home; stopped and removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="wb-bench-"))
    home = Home(path=folder / "home")
    local.up(home)
    try:
        with _opened(home):
            yield _described(home)
    finally:
        local.down(home)
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _opened(home: Home):
    """Make the workspace by opening it, as a notebook does."""
    os.environ["WORKBENCH_HOME"] = str(home.path)
    os.environ.pop("WORKBENCH_URL", None)
    with local.open(workspace=_WORKSPACE):
        yield


def _described(home: Home) -> Stack:
    parts = read_json(home.supervisor)["parts"]
    pid = parts["server"]["pid"]
    variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    app_url = next(
        line.split(b"=", 1)[1].decode()
        for line in variables
        if line.startswith(b"WORKBENCH_APP_DATABASE_URL=")
    )
    passwords = json.loads((home.path / "credentials.json").read_text())
    return Stack(
        url=f"http://127.0.0.1:{int(home.port.read_text())}",
        home=home,
        api_key=read_json(home.keys)[_WORKSPACE],
        server_pid=pid,
        postgres_pid=parts["postgres"]["pid"],
        app_url=app_url,
        bench_url=_as(app_url, "bench", passwords),
        owner_url=_as(app_url, "owner", passwords),
    )


def _as(app_url: str, role: str, passwords: dict[str, str]) -> str:
    parts = urlsplit(app_url)
    host = parts.netloc.rpartition("@")[2]
    user = f"workbench_{role}:{quote(passwords[role], safe='')}"
    return urlunsplit(parts._replace(netloc=f"{user}@{host}"))
