import time

import duckdb
import polars as pl
import psycopg
import pytest
from lake_places import rows, table
from running import service
from speaking import Client, a_whole_run


def wait_for_lake(client):
    """Ask for a snapshot, and give the tables' places once the lake holds every ended run."""
    assert client.http.post("/snapshots").status_code == 202
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        snapshots = client.http.get("/snapshots").json()
        if snapshots["pending"] == 0 and snapshots["tables"]:
            return {name: said["metadata_location"] for name, said in snapshots["tables"].items()}
        time.sleep(0.1)
    return pytest.fail("the worker wrote no snapshot")


@pytest.fixture(autouse=True)
def plan_with_pyiceberg(monkeypatch):
    """Polars' own planner is a package of its own, and warns where it is absent."""
    monkeypatch.setenv("POLARS_ICEBERG_PLANNER", "pyiceberg")


def test_ended_runs_are_read_from_the_lake(client, worker):
    run_ids = [client.create(name=f"run {i}", labels={"i": i}) for i in range(3)]
    for run_id in run_ids:
        client.send(run_id, *a_whole_run())
    client.create(name="still open")
    places = wait_for_lake(client)
    runs = pl.scan_iceberg(places["runs"]).collect()
    assert dict(zip(runs["run_id"], runs["labels"], strict=True)) == {
        run_id: f'{{"i": {i}}}' for i, run_id in enumerate(run_ids)
    }
    assert runs["cost_usd"].to_list() == [0.5] * 3
    events = pl.scan_iceberg(places["events"]).collect()
    assert events.group_by("run_id").len()["len"].to_list() == [4, 4, 4]
    assert events.filter(seq=1)["payload"].to_list() == ['{"input":"2 + 2"}'] * 3
    messages = pl.scan_iceberg(places["messages"]).collect()
    assert messages["text"].to_list() == ["4"] * 3


def test_duckdb_reads_the_files_that_a_snapshot_names(client, worker):
    client.send(client.create(), *a_whole_run())
    places = wait_for_lake(client)
    files = [task.file.file_path for task in table(places["events"]).scan().plan_files()]
    with duckdb.connect() as engine:
        found = engine.execute("select count(*), max(seq) from read_parquet(?)", [files])
        assert found.fetchone() == (4, 4)


def test_each_workspace_has_a_prefix_and_tables_of_its_own(client, other, worker, server):
    for each in (client, other):
        each.send(each.create(), *a_whole_run())
        places = wait_for_lake(each)
        assert rows(places["runs"]).height == 1
    prefix = server.storage / "ws" / str(server.workspace.workspace_id) / "lake"
    assert {path.name for path in prefix.iterdir()} == {"runs", "events", "messages"}


def test_the_worker_looks_for_ended_runs_by_itself(client, worker):
    client.send(client.create(), *a_whole_run())
    deadline = time.monotonic() + 40
    while client.http.get("/snapshots").json()["pending"]:
        assert time.monotonic() < deadline, "nobody looked"
        time.sleep(0.2)


def test_a_killed_worker_s_job_is_taken_up_by_the_next(own_server):
    """Its job holds the workspace's lock, so nothing would be written there ever again."""
    client = Client(own_server.url, own_server.api_key)
    client.send(client.create(), *a_whole_run())
    client.http.post("/snapshots")
    with psycopg.connect(own_server.database.owner_url, autocommit=True) as owner:
        owner.execute("set search_path = jobs")
        taken = owner.execute("update jobs.procrastinate_jobs set status = 'doing' returning 1")
        assert taken.rowcount == 1
    with service("worker", environment=own_server.environment):
        deadline = time.monotonic() + 60
        while client.http.get("/snapshots").json()["pending"]:
            assert time.monotonic() < deadline, "the job was never taken up"
            time.sleep(0.2)
    client.http.close()
