"""What whoever runs the service sees of it: probes, counters, logs."""

import json
import logging
import re
import shutil
import socket
import subprocess
import sys
import threading
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families
from running import _serving, _url_of, make_workspace, service
from speaking import Client, a_whole_run, event
from test_stopping import client_of, wait_until

ALL_OK = {"database": "ok", "migrations": "ok", "storage": "ok"}


def numbers(server):
    """Every sample of /metrics by its name and labels."""
    text = httpx.get(f"{server.url}/metrics").text
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def logged(process):
    """Stop a service and give what it logged; every line has to be JSON."""
    process.terminate()
    _, said = process.communicate(timeout=30)
    return [json.loads(line) for line in said.splitlines()]


# ---- probes


def test_a_ready_server_says_what_it_looked_at(server, worker):
    def checks():
        return httpx.get(f"{server.url}/v1/ready").json()["checks"]

    wait_until(lambda: checks()["worker"] == "ok")
    answer = httpx.get(f"{server.url}/v1/ready")
    assert answer.status_code == 200
    assert answer.json() == {"status": "ready", "checks": ALL_OK | {"worker": "ok"}}


def test_a_worker_that_was_never_there_makes_nobody_unready(own_server):
    answer = httpx.get(f"{own_server.url}/v1/ready")
    assert (answer.status_code, answer.json()["checks"]["worker"]) == (200, "not seen")


def assert_not_ready(server, *, where, check, found):
    answer = httpx.get(f"{server.url}/v1/ready", timeout=20)
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (503, "unavailable")
    assert answer.headers["retry-after"] == "1"
    details = problem["details"]
    assert details["where"] == where
    assert found in details["checks"][check]
    assert details["hint"]


def test_without_its_object_store_a_server_is_not_ready(own_server):
    shutil.rmtree(own_server.storage)
    assert_not_ready(own_server, where="storage", check="storage", found="unreachable")


def test_a_server_newer_than_its_database_is_not_ready(own_server):
    with psycopg.connect(own_server.database.owner_url, autocommit=True) as connection:
        connection.execute("delete from migrations where name = '0011_operation.sql'")
    assert_not_ready(own_server, where="migrations", check="migrations", found="0011_operation.sql")


def test_without_its_database_a_server_is_not_ready_and_ready_again_with_it(own_server, postgres):
    name = own_server.database.name
    with postgres.owner() as owner:
        owner.execute(f"alter database {name} allow_connections false")
        owner.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", [name]
        )
        assert_not_ready(own_server, where="database", check="database", found="unreachable")
        health = httpx.get(f"{own_server.url}/v1/health", timeout=20)
        assert (health.status_code, health.json()["status"]) == (200, "degraded")
        owner.execute(f"alter database {name} allow_connections true")
    wait_until(lambda: httpx.get(f"{own_server.url}/v1/ready", timeout=20).status_code == 200)


def test_a_database_that_hangs_holds_no_probe_up(own_server):
    """The probes ask for what another transaction has locked, and do not wait for it."""
    with psycopg.connect(own_server.database.owner_url) as blocker:
        blocker.execute("lock table migrations in access exclusive mode")
        answers = [httpx.get(f"{own_server.url}/v1/ready", timeout=8) for _ in range(3)]
        assert {answer.status_code for answer in answers} == {503}
        assert httpx.get(f"{own_server.url}/metrics", timeout=8).status_code == 200
    wait_until(lambda: httpx.get(f"{own_server.url}/v1/ready", timeout=20).status_code == 200)


def test_doctor_tells_what_a_server_does_not_reach(own_server, monkeypatch, tmp_path):
    from workbench import local

    monkeypatch.setenv("WORKBENCH_URL", own_server.url)
    monkeypatch.setenv("WORKBENCH_API_KEY", own_server.api_key)
    home = local.home_at(tmp_path / "home")
    names = ["home", "server", "database", "migrations", "storage", "jobs"]
    assert {finding.name: finding.ok for finding in local.doctor(home)} == dict.fromkeys(
        names, True
    )
    shutil.rmtree(own_server.storage)
    bad = [finding for finding in local.doctor(home) if not finding.ok]
    assert [finding.name for finding in bad] == ["storage"]
    assert "WORKBENCH_STORAGE_URL" in bad[0].hint


# ---- counters


def test_the_counters_count_what_was_asked_stored_and_refused(own_server):
    with client_of(own_server) as client:
        events, bodies = a_whole_run()
        run_id = client.create()
        before = numbers(own_server)
        assert client.send(run_id, events, bodies).status_code == 200
        assert client.send(run_id, [event("step_started", 9)]).status_code == 409
        assert client.http.get("/runs/none").status_code == 404
        assert client.http.get("/nowhere").status_code == 404
    after = numbers(own_server)
    grown = {
        name: after[name] - before.get(name, 0) for name in after if after[name] != before.get(name)
    }
    append = ("POST", "/v1/runs/{run_id}/events")
    assert grown["workbench_events_stored_total",] == 4
    assert grown["workbench_bytes_stored_total",] > 400
    assert grown["workbench_batch_events_count",] == 1
    assert grown["workbench_problems_total", "run_not_found"] == 1
    assert grown["workbench_problems_total", "not_found"] == 1
    assert grown["workbench_http_requests_total", *append, "200"] == 1
    assert grown["workbench_http_requests_total", *append, "409"] == 1
    assert grown["workbench_http_requests_total", "GET", "/v1/runs/{run_id}", "404"] == 1
    assert grown["workbench_http_requests_total", "GET", "unknown", "404"] == 1
    assert grown["workbench_http_request_seconds_count", *append] == 2
    assert after["workbench_snapshot_runs_due",] == 1
    assert after["workbench_pool_connections",] >= 1
    assert after["process_resident_memory_bytes",] > 2**20
    assert any(name[0] == "workbench_build_info" for name in after)


def test_the_counters_name_no_workspace_run_or_key(own_server):
    with client_of(own_server) as client:
        run_id = client.create(name="secret-plan", session="secret-session")
        client.send(run_id, [event("step_started", 1)])
        client.http.get(f"/runs/{run_id}")
        client.http.get("/runs", params={"name": "secret-plan"})
    text = httpx.get(f"{own_server.url}/metrics").text
    workspace = own_server.workspace
    for secret in (
        run_id,
        workspace.name,
        str(workspace.workspace_id),
        workspace.api_key,
        "secret",
    ):
        assert secret not in text


def test_an_open_stream_is_counted_until_it_ends(own_server):
    with client_of(own_server) as client:
        path = f"/runs/{client.create()}/events/stream"
        with client.http.stream("GET", path) as answer:
            lines = answer.iter_lines()
            next(lines)
            assert numbers(own_server)["workbench_streams_open",] == 1
    wait_until(lambda: numbers(own_server)["workbench_streams_open",] == 0)


# ---- logs


def test_each_line_of_the_log_is_json_with_the_ids_of_its_request(database, server_environment):
    workspace = make_workspace(database, "logged")
    with service("serve", "--port", "0", environment=server_environment) as process:
        client = Client(_url_of(process), workspace.api_key)
        run_id = client.create(name="a-private-name")
        given = {"X-Request-ID": "mine-1"}
        assert (
            client.http.get(f"/runs/{run_id}?", headers=given).headers["x-request-id"] == "mine-1"
        )
        bad = client.http.get("/runs", headers={"X-Request-ID": "no good"}, params={"q": "private"})
        assert bad.headers["x-request-id"] != "no good"
        client.http.get("/nowhere", headers={"X-Request-ID": "x" * 129})
        client.http.close()
        lines = logged(process)
    line = next(line for line in lines if line.get("request_id") == "mine-1")
    assert line["time"].endswith("Z")
    assert line.items() >= {
        "level": "info", "logger": "workbench.requests", "message": "GET /v1/runs/{run_id} 200",
        "method": "GET", "route": "/v1/runs/{run_id}", "status": 200, "run_id": run_id,
        "workspace": str(workspace.workspace_id),
    }.items()  # fmt: skip
    assert line["ms"] > 0
    text = json.dumps(lines)
    assert workspace.api_key not in text
    assert "private" not in text


def test_a_failure_of_the_server_is_told_without_a_traceback_and_logged_with_it(own_server):
    with psycopg.connect(own_server.database.owner_url, autocommit=True) as connection:
        connection.execute("alter table runs rename to gone")
    with client_of(own_server) as client:
        answer = client.http.get("/runs")
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (500, "workbench_error")
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert problem["request_id"] in problem["details"]["hint"]
    assert not {"Traceback", "psycopg", "relation"} & set(re.findall(r"\w+", answer.text))
    lines = [x for x in logged(own_server.process) if x.get("request_id") == problem["request_id"]]
    assert [line["level"] for line in lines] == ["error", "warning"]
    assert "Traceback" in lines[0]["exception"]
    assert "UndefinedTable" in lines[0]["exception"]


def test_the_level_of_the_log_is_chosen(database, server_environment):
    environment = server_environment | {"WORKBENCH_LOG_LEVEL": "warning"}
    with _serving(database, environment) as running:
        with client_of(running) as client:
            client.create()
        assert logged(running.process) == []


@pytest.mark.parametrize(
    ("name", "value"), [("WORKBENCH_LOG_LEVEL", "loud"), ("WORKBENCH_DRAIN_S", "soon")]
)
def test_a_setting_that_is_none_is_one_line(server_environment, name, value):
    done = subprocess.run(
        [sys.executable, "-m", "workbench_server", "serve", "--port", "0"],
        env=server_environment | {name: value},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr.partition(":")[0]) == (2, "usage_error")
    assert name in done.stderr


def test_the_worker_logs_its_jobs_as_json(own_server):
    with client_of(own_server) as client:
        client.send(client.create(), *a_whole_run())
        with service("worker", environment=own_server.environment) as process:
            assert "ready" in process.stderr.readline()
            wait_until(lambda: client.http.get("/snapshots").json()["pending"] == 0)
            lines = logged(process)
    line = next(line for line in lines if line["logger"] == "workbench.worker")
    assert line.items() >= {
        "level": "info", "job": "snapshot", "runs": 1,
        "workspace": str(own_server.workspace.workspace_id),
    }.items()  # fmt: skip


def test_a_secret_in_a_message_is_not_written():
    from workbench_server.logs import Lines

    said = "no postgresql://workbench_app:hunter2@db/x, Authorization: Bearer wb_key1"
    error = RuntimeError(said)
    record = logging.makeLogRecord({"msg": said, "exc_info": (type(error), error, None)})
    line = json.loads(Lines().format(record))
    assert "hunter2" not in json.dumps(line)
    assert "wb_key1" not in json.dumps(line)
    assert "postgresql://workbench_app:***@db/x" in line["message"]
    assert "RuntimeError" in line["exception"]


def test_the_log_says_why_a_request_was_refused(own_server):
    with client_of(own_server) as client:
        client.http.get("/runs?colour=red", headers={"X-Request-ID": "refused-1"})
    line = next(x for x in logged(own_server.process) if x.get("request_id") == "refused-1")
    assert (line["status"], line["code"]) == (400, "unknown_parameter")


def test_what_is_no_http_is_logged_and_counted_like_any_refused_request(own_server):
    place = urlsplit(own_server.url)
    with socket.create_connection((place.hostname, place.port), timeout=30) as opened:
        opened.sendall(b"hello\r\n\r\n")
        with opened.makefile("rb") as file:
            _, _, body = file.read().partition(b"\r\n\r\n")
    counted = numbers(own_server)
    assert counted["workbench_problems_total", "usage_error"] == 1
    assert counted["workbench_http_requests_total", "other", "unknown", "400"] == 1
    lines = logged(own_server.process)
    line = next(x for x in lines if x.get("request_id") == json.loads(body)["request_id"])
    assert (line["status"], line["code"]) == (400, "usage_error")


def test_lines_of_many_threads_are_whole(own_server):
    def ask():
        for _ in range(50):
            httpx.get(f"{own_server.url}/v1/nowhere")

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(line["status"] == 404 for line in logged(own_server.process)) == 200
