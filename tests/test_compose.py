"""The compose file is held against the code: commands, ports, variables, and what they do.

No Docker engine is at hand in the tests, so the services' own commands are run here, with their
own environment, on a real Postgres and a folder.
"""

from __future__ import annotations

import dataclasses
import os
import re
import runpy
import secrets
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import yaml
from botocore.configprovider import BOTOCORE_DEFAUT_SESSION_VARIABLES as BOTOCORE
from botocore.credentials import EnvProvider
from workbench_server import command
from workbench_server.configuration import Configuration

from workbench.settings import Settings

_ROOT = Path(__file__).parents[1]
_VARIABLE = re.compile(r"\$\{([A-Z_]+)(:\?[^}]+)?\}")
_OURS = ("bucket", "migrate", "workspace", "server", "worker", "jupyterlab")


@pytest.fixture(scope="module")
def text():
    return (_ROOT / "docker-compose.yml").read_text()


@pytest.fixture(scope="module")
def services(text):
    return yaml.safe_load(text)["services"]


@pytest.fixture(scope="module")
def dockerfile():
    lines = (_ROOT / "server" / "Dockerfile").read_text().splitlines()
    found: dict[str, list[str]] = {}
    for line in lines:
        word, _, rest = line.partition(" ")
        if word.isupper():
            found.setdefault(word, []).append(rest)
    return found


def _server_arguments(entry) -> list[str]:
    words = list(entry["command"])
    assert words[:3] == ["python", "-m", "workbench_server"]
    return words[3:]


# ---- what is written fits together


def test_the_services_of_the_architecture_are_there(services):
    assert {"postgres", "objects", *_OURS} == set(services)
    assert all(services[name]["image"] == "workbench" for name in _OURS)


@pytest.mark.parametrize("name", ["migrate", "workspace", "server", "worker"])
def test_each_server_command_is_one_the_server_has(services, name):
    options = command._parser().parse_args(_server_arguments(services[name]))
    assert callable(options.run)


def test_the_port_is_the_same_in_command_image_health_check_and_notebooks(services, dockerfile):
    options = command._parser().parse_args(_server_arguments(services["server"]))
    port = str(options.port)
    assert options.host == "0.0.0.0"
    assert [f"127.0.0.1:{port}:{port}"] == services["server"]["ports"]
    assert [port] == dockerfile["EXPOSE"]
    check = services["server"]["healthcheck"]["test"][-1]
    address = urlsplit(re.search(r"http://[^']+", check)[0])
    assert (str(address.port), address.path) == (port, "/v1/ready")
    compile(check, "healthcheck", "exec")
    assert services["jupyterlab"]["environment"]["WORKBENCH_URL"] == f"http://server:{port}"


def test_only_the_loopback_interface_is_published(services):
    published = [port for entry in services.values() for port in entry.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)
    assert not {"postgres", "objects"} & {n for n, entry in services.items() if "ports" in entry}


def test_every_variable_is_one_that_the_code_or_a_package_reads(services):
    fields = [*dataclasses.fields(Settings), *dataclasses.fields(Configuration)]
    known = {f"WORKBENCH_{field.name.upper()}" for field in fields}
    known |= {name for value in BOTOCORE.values() for name in _names(value[1])}
    known |= {EnvProvider.ACCESS_KEY, EnvProvider.SECRET_KEY, "AWS_ENDPOINT_URL", "JUPYTER_TOKEN"}
    for name in _OURS:
        assert set(services[name].get("environment", {})) <= known


def _names(value) -> list[str]:
    return [value] if isinstance(value, str) else list(value or [])


def test_every_address_names_a_service_and_a_port_it_listens_on(services):
    listens = {"postgres": 5432, "objects": 9000, "server": 8600}
    assert services["objects"]["command"][-1] == f":{listens['objects']}"
    for name in _OURS:
        for value in services[name].get("environment", {}).values():
            if "://" in value and not value.startswith("s3://"):
                place = value.rpartition("@")[2].removeprefix("http://").partition("/")[0]
                host, _, port = place.partition(":")
                assert listens[host] == int(port)


def test_each_role_gets_its_own_address_and_no_more(services):
    wanted = {
        "migrate": {"owner", "app", "worker"},
        "workspace": {"owner"},
        "server": {"app"},
        "worker": {"worker"},
        "bucket": set(),
        "jupyterlab": set(),
    }
    for name, roles in wanted.items():
        told = " ".join(services[name].get("environment", {}).values())
        assert roles == set(re.findall(r"postgresql://workbench_(\w+):", told))
        for role in roles:
            assert f"workbench_{role}:${{WORKBENCH_{role.upper()}_PASSWORD:?" in told


def test_postgres_is_made_with_the_owner_whose_address_is_used(services):
    made = services["postgres"]["environment"]
    address = services["migrate"]["environment"]["WORKBENCH_DATABASE_URL"]
    expected = f"postgresql://{made['POSTGRES_USER']}:{made['POSTGRES_PASSWORD']}"
    assert f"{expected}@postgres:5432/{made['POSTGRES_DB']}" == address
    assert made["POSTGRES_USER"] in services["postgres"]["healthcheck"]["test"][2]


def test_secrets_have_no_default_and_stand_in_the_example(text):
    found = _VARIABLE.findall(text)
    assert all(required for _, required in found), "each needs ${NAME:?…}"
    assert len(re.findall(r"\$", text)) == len(found)
    lines = (_ROOT / ".env.example").read_text().splitlines()
    named = [line for line in lines if line and not line.startswith("#")]
    assert {f"{name}=" for name, _ in found} == set(named)
    ignored = (_ROOT / ".gitignore").read_text().splitlines()
    assert ".env" in ignored


def test_what_a_service_waits_for_exists_and_can_be_waited_for(services):
    for entry in services.values():
        for name, how in entry.get("depends_on", {}).items():
            waits_for_health = how["condition"] == "service_healthy"
            assert waits_for_health <= ("healthcheck" in services[name])
            ends = how["condition"] == "service_completed_successfully"
            assert ends == (name in {"bucket", "migrate", "workspace"})


def test_volumes_are_declared_and_mounted_folders_exist(text, services):
    declared = set(yaml.safe_load(text)["volumes"])
    mounts = [mount for entry in services.values() for mount in entry.get("volumes", [])]
    sources = {mount.split(":")[0] for mount in mounts}
    assert declared == {source for source in sources if not source.startswith(".")}
    assert all((_ROOT / source).is_dir() for source in sources if source.startswith("."))


def test_the_image_is_built_from_files_that_exist_and_runs_what_the_server_has(dockerfile):
    for line in dockerfile["COPY"]:
        assert all((_ROOT / source).exists() for source in line.split()[:-1])
    words = yaml.safe_load(dockerfile["CMD"][0])
    assert callable(command._parser().parse_args(words[3:]).run)
    assert words[:3] == ["python", "-m", "workbench_server"]
    assert dockerfile["USER"] == ["workbench"]
    version = tuple(map(int, re.search(r"python:(\d+)\.(\d+)", dockerfile["FROM"][0]).groups()))
    assert version >= (3, 11)
    kept = (_ROOT / ".dockerignore").read_text()
    for line in dockerfile["COPY"]:
        assert all(f"!{source.split('/')[0]}\n" in kept for source in line.split()[:-1])


def test_jupyterlab_knows_its_options(services):
    from jupyter_server.auth import identity
    from jupyter_server.serverapp import ServerApp
    from jupyterlab.labapp import LabApp

    words = services["jupyterlab"]["command"]
    assert words[:2] == ["jupyter", "lab"]
    for word in words[2:]:
        name = word.lstrip("-").partition("=")[0]
        short = name in LabApp.aliases or name in LabApp.flags
        owner, _, trait = name.partition(".")
        assert short or (owner == "ServerApp" and ServerApp.class_traits()[trait])
    source = Path(identity.__file__).read_text()
    assert "JUPYTER_TOKEN" in source
    mounts = services["jupyterlab"]["volumes"]
    root = next(word.partition("=")[2] for word in words if "root_dir" in word)
    assert all(mount.split(":")[1].startswith(f"{root}/") for mount in mounts)


# ---- what is written does what it should


@pytest.fixture
def secret_values(postgres):
    """One value for each variable; the roles keep the password the whole session uses."""
    names = {name for name, _ in _VARIABLE.findall((_ROOT / "docker-compose.yml").read_text())}
    return {
        name: postgres.password if name.endswith("_PASSWORD") else secrets.token_hex(16)
        for name in names
    }


@pytest.fixture
def environment_of(services, postgres, secret_values, tmp_path):
    """The environment a service gets, with the hosts of this machine."""
    database = f"compose_{secrets.token_hex(4)}"
    with postgres.owner() as connection:
        connection.execute(f"create database {database}")
    owner, role = (
        urlsplit(postgres.address(database)),
        urlsplit(postgres.address(database, role="x")),
    )
    place = role.netloc.rpartition("@")[2]

    def make(name: str) -> dict[str, str]:
        told = {}
        for variable, value in services[name].get("environment", {}).items():
            filled = _VARIABLE.sub(lambda found: secret_values[found[1]], value)
            filled = filled.replace("@postgres:5432/workbench", f"@{place}/{database}")
            told[variable] = re.sub(r"//workbench_owner:\w+@", f"//{owner.username}@", filled)
        if "WORKBENCH_STORAGE_URL" in told:
            told["WORKBENCH_STORAGE_URL"] = str(tmp_path / "objects")
        kept = ("PATH", "PYTHONPATH", "LANG")
        return {name: os.environ[name] for name in kept if name in os.environ} | told

    yield make
    with postgres.owner() as connection:
        connection.execute(f"drop database {database} with (force)")


def _run(services, name: str, environment: dict[str, str]) -> None:
    words = [sys.executable, *services[name]["command"][1:]]
    subprocess.run(words, env=environment, cwd=_ROOT, check=True, capture_output=True, timeout=60)


@contextmanager
def _served(services, environment):
    words = _server_arguments(services["server"])
    words[words.index("--port") + 1] = "0"
    words[words.index("--host") + 1] = "127.0.0.1"
    process = subprocess.Popen(
        [sys.executable, "-m", "workbench_server", *words],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        line = next(line for line in process.stderr if "listening on " in line)
        yield line.split("listening on ")[1].strip()
    finally:
        process.terminate()
        process.communicate(timeout=20)


def test_the_services_in_their_order_end_with_a_server_that_knows_the_key(
    services, environment_of, secret_values
):
    for name in ("bucket", "migrate", "workspace"):
        _run(services, name, environment_of(name))
        _run(services, name, environment_of(name))  # a second `up` runs them again
    with _served(services, environment_of("server")) as url:
        key = secret_values["WORKBENCH_API_KEY"]
        answer = httpx.get(f"{url}/v1/health", headers={"Authorization": f"Bearer {key}"}).json()
    assert answer["status"] == "ok"
    assert answer["workspace"]["name"] == services["workspace"]["command"][-1]


def test_the_bucket_is_made_where_it_is_missing(tmp_path):
    made = runpy.run_path(str(_ROOT / "server" / "make_bucket.py"))
    for _ in range(2):
        made["make"](str(tmp_path / "bucket"))
    assert (tmp_path / "bucket").is_dir()
