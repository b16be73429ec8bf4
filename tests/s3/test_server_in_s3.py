"""The server and its worker on a real object store."""

import hashlib
import subprocess
import sys
import time

import fsspec
import httpx
import polars as pl
import pytest
from gateway import missing_programs, object_gateway
from pyiceberg.table import StaticTable
from running import _serving, service
from speaking import Client, a_whole_run

pytestmark = pytest.mark.skipif(bool(missing_programs()), reason="Ceph's programs are missing")


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    with object_gateway(tmp_path_factory.mktemp("ceph")) as running:
        yield running


@pytest.fixture
def environment(gateway, server_environment, monkeypatch):
    for name, value in gateway.environment.items():
        monkeypatch.setenv(name, value)
    files = fsspec.filesystem("s3", skip_instance_cache=True)
    if not files.exists("workbench"):
        files.mkdir("workbench")
    storage = {"WORKBENCH_STORAGE_URL": "s3://workbench/here"}
    return server_environment | gateway.environment | storage


def test_artifacts_and_the_lake_live_in_the_bucket(gateway, environment, database, monkeypatch):
    monkeypatch.setenv("POLARS_ICEBERG_PLANNER", "pyiceberg")
    with _serving(database, environment) as server, service("worker", environment=environment):
        assert httpx.get(f"{server.url}/v1/health", timeout=30).json()["storage"] == "ok"
        client = Client(server.url, server.api_key)
        sha256 = hashlib.sha256(b"data").hexdigest()
        client.http.put(f"/artifacts/{sha256}", content=b"data")
        assert client.http.get(f"/artifacts/{sha256}").content == b"data"
        run_id = client.create()
        client.send(run_id, *a_whole_run())
        client.http.post("/snapshots")
        deadline = time.monotonic() + 60
        while (said := client.http.get("/snapshots").json())["pending"] or not said["tables"]:
            assert time.monotonic() < deadline, "the worker wrote no snapshot"
            time.sleep(0.2)
        client.http.close()
    place = said["tables"]["events"]["metadata_location"]
    assert place.startswith(f"s3://workbench/here/ws/{server.workspace.workspace_id}/lake/events/")
    options = {
        "s3.endpoint": gateway.endpoint,
        "s3.access-key-id": gateway.access,
        "s3.secret-access-key": gateway.secret,
        "s3.region": "default",
    }
    table = StaticTable.from_metadata(
        place, options | {"py-io-impl": "pyiceberg.io.fsspec.FsspecFileIO"}
    )
    assert table.scan().to_arrow()["seq"].to_pylist() == [1, 2, 3, 4]
    scanned = pl.scan_iceberg(table, reader_override="pyiceberg").collect()
    assert scanned["run_id"].unique().to_list() == [run_id]


@pytest.mark.parametrize("command", ["serve", "worker"])
@pytest.mark.parametrize("wrong", ["bucket", "endpoint"])
def test_a_store_that_is_not_there_is_one_line_and_three(environment, command, wrong):
    changed = (
        {"WORKBENCH_STORAGE_URL": "s3://no-such-bucket/x"}
        if wrong == "bucket"
        else {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_MAX_ATTEMPTS": "1"}
    )
    done = subprocess.run(
        [sys.executable, "-m", "workbench_server", command],
        env=environment | changed, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr.partition(":")[0]) == (3, "unavailable"), done.stderr
    assert "Traceback" not in done.stderr
