import shutil
import socket
import subprocess
import sys

import httpx
import psycopg


def run(command, *arguments, environment):
    return subprocess.run(
        [sys.executable, "-m", "workbench_server", command, *arguments],
        env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def assert_one_line(done, *, returncode, code):
    assert (done.returncode, done.stderr.partition(":")[0]) == (returncode, code), done.stderr
    assert "Traceback" not in done.stderr


def test_health_names_the_workspace_of_a_key(server):
    plain = httpx.get(f"{server.url}/v1/health").json()
    known = httpx.get(
        f"{server.url}/v1/health", headers={"Authorization": f"Bearer {server.api_key}"}
    ).json()
    assert plain == {"status": "ok", "version": "0.1.0", "database": "ok", "storage": "ok"}
    assert known["workspace"] == {
        "id": str(server.workspace.workspace_id),
        "name": server.workspace.name,
    }


def test_health_says_what_is_gone(own_server, postgres):
    shutil.rmtree(own_server.storage)
    gone = httpx.get(f"{own_server.url}/v1/health").json()
    assert (gone["status"], gone["database"], gone["storage"]) == ("degraded", "ok", "unreachable")


def test_a_database_that_went_away_is_unavailable_and_comes_back(own_server, postgres):
    headers = {"Authorization": f"Bearer {own_server.api_key}"}
    name = own_server.database.name
    assert httpx.get(f"{own_server.url}/v1/runs", headers=headers).status_code == 200
    with postgres.owner() as owner:
        owner.execute(f"alter database {name} allow_connections false")
        owner.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", [name]
        )
        answer = httpx.get(f"{own_server.url}/v1/runs", headers=headers, timeout=30)
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        owner.execute(f"alter database {name} allow_connections true")
    answers = [httpx.get(f"{own_server.url}/v1/runs", headers=headers, timeout=30) for _ in "123"]
    assert answers[-1].status_code == 200


def test_a_port_in_use_is_one_line_and_three(server_environment):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run("serve", "--port", str(port), environment=server_environment)
    assert_one_line(done, returncode=3, code="port_in_use")
    assert f"127.0.0.1:{port}" in done.stderr


def test_a_missing_object_store_is_one_line_and_three(server_environment, tmp_path):
    (tmp_path / "file").write_text("no folder")
    environment = server_environment | {"WORKBENCH_STORAGE_URL": str(tmp_path / "file" / "x")}
    for command in ("serve", "worker"):
        done = run(command, environment=environment)
        assert_one_line(done, returncode=3, code="unavailable")


def test_a_missing_database_is_one_line_and_three(server_environment):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"postgresql://workbench_app:x@127.0.0.1:{unused.getsockname()[1]}/none"
        names = ("WORKBENCH_APP_DATABASE_URL", "WORKBENCH_WORKER_DATABASE_URL")
        environment = server_environment | dict.fromkeys((*names, "WORKBENCH_DATABASE_URL"), url)
        for command in ("worker", "migrate", "serve"):
            done = run(command, environment=environment)
            assert_one_line(done, returncode=3, code="unavailable")
            assert ":x@" not in done.stderr


def test_a_missing_setting_is_named(server_environment):
    environment = server_environment | {"WORKBENCH_APP_DATABASE_URL": ""}
    done = run("serve", environment=environment)
    assert_one_line(done, returncode=2, code="usage_error")
    assert "WORKBENCH_APP_DATABASE_URL" in done.stderr


def test_a_workspace_is_made_with_a_key_that_is_stored_only_as_its_hash(
    database, server_environment
):
    key = "wb_a-key-that-is-long-enough"
    environment = server_environment | {
        "WORKBENCH_DATABASE_URL": database.owner_url, "WORKBENCH_API_KEY": key,
    }  # fmt: skip
    done = run("workspace", "mine", environment=environment)
    again = run("workspace", "mine", environment=environment)
    assert (done.returncode, done.stdout) == (0, again.stdout)
    assert key not in done.stdout + done.stderr
    with psycopg.connect(database.owner_url) as connection:
        kept = connection.execute("select key_hash::text, role from api_keys").fetchall()
    assert len(kept) == 1
    assert key not in kept[0][0]
    stolen = run("workspace", "theirs", environment=environment)
    assert_one_line(stolen, returncode=3, code="conflict")
    short = run("workspace", "mine", environment=environment | {"WORKBENCH_API_KEY": "x"})
    assert_one_line(short, returncode=2, code="usage_error")
