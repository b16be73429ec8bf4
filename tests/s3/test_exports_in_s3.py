"""Exports and the lake in a real object store."""

import subprocess
import sys
import time

import fsspec
import pytest
import s3fs
from gateway import missing_programs, object_gateway
from handmade import exported, short_run

from workbench import errors
from workbench.schema import RunHeader
from workbench.store import connect, read
from workbench.store.lake import Lake

pytestmark = [
    pytest.mark.skipif(bool(missing_programs()), reason="Ceph's programs are missing"),
    pytest.mark.slow,
    pytest.mark.xdist_group("s3"),
]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    with object_gateway(tmp_path_factory.mktemp("ceph")) as running:
        yield running


@pytest.fixture
def bucket(gateway, monkeypatch):
    for name, value in gateway.environment.items():
        monkeypatch.setenv(name, value)
    # each test has an environment of its own, and instances keep the one they were made in
    s3fs.S3FileSystem.clear_instance_cache()
    files = fsspec.filesystem("s3", skip_instance_cache=True)
    if not files.exists("exports"):
        files.mkdir("exports")
    yield files
    s3fs.S3FileSystem.clear_instance_cache()


def test_an_export_in_s3_reads_as_on_disk(bucket, tmp_path):
    folder = exported(tmp_path / "runs", short_run(), short_run())
    bucket.put(str(folder), "exports/runs", recursive=True)

    here, there = read(folder), read("s3://exports/runs", verify=True)

    assert there.runs().equals(here.runs())
    for run_id in here.runs()["run_id"]:
        assert there.run(run_id).events.equals(here.run(run_id).events)
        assert there.run(run_id).bodies() == here.run(run_id).bodies()
    query = "select run_id, count(*) n from events group by all order by all"
    assert there.sql(query).equals(here.sql(query))


def test_a_prefix_without_an_export_is_of_another_format(bucket):
    with pytest.raises(errors.UnknownFormat, match="exports/nothing"):
        read("s3://exports/nothing")


def test_a_bucket_that_is_not_there_is_a_clear_error(bucket):
    with pytest.raises(errors.WorkbenchError, match="no-such-bucket"):
        read("s3://no-such-bucket/runs")


def test_a_wrong_secret_is_unavailable(bucket, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    s3fs.S3FileSystem.clear_instance_cache()

    with pytest.raises(errors.Unavailable, match="s3://exports"):
        read("s3://exports/runs")


def test_an_object_store_that_is_not_there_is_unavailable(bucket, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    s3fs.S3FileSystem.clear_instance_cache()

    with pytest.raises(errors.Unavailable, match="s3://exports"):
        read("s3://exports/runs")


# ---- the lake


@pytest.fixture
def server_environment(server_environment, bucket, gateway):
    bucket.mkdir("lake") if not bucket.exists("lake") else None
    return server_environment | gateway.environment | {"WORKBENCH_STORAGE_URL": "s3://lake/test"}


@pytest.fixture
def own_worker(own_server):
    command = [sys.executable, "-m", "workbench_server", "worker"]
    process = subprocess.Popen(command, env=own_server.environment)
    yield process
    process.terminate()
    process.wait(timeout=20)


def test_a_query_reads_the_lake_in_s3_and_without_credentials_the_server(
    own_server, own_worker, monkeypatch
):
    log = short_run()
    with connect(own_server.url, own_server.api_key) as store:
        run_id = store.create_run(RunHeader(name="a"))
        store.append(run_id, log.events, log.bodies)
        deadline = time.monotonic() + 60
        while store.snapshots()["pending"] or not store.snapshots()["tables"]:
            assert time.monotonic() < deadline, "the worker made no snapshot"
            time.sleep(0.2)

        tables = store.snapshots()["tables"]
        query = "select * from events order by seq"
        assert Lake.found(tables).current(store.runs()).height == 1
        over_the_lake = store.sql(query)
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        s3fs.S3FileSystem.clear_instance_cache()

        assert Lake.found(tables).tables == {}
        assert store.sql(query).equals(over_the_lake)
        assert over_the_lake.drop("run_id").equals(store.events(run_id))
