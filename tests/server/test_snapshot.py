import time

import duckdb
import polars as pl
import psycopg
import pytest
from pyiceberg.table import StaticTable
from running import service
from speaking import Client, a_whole_run, event
from workbench_server.storage import open_storage
from workbench_server.worker.lake import BATCH, append, open_lake
from workbench_server.worker.snapshot import Worker, _claim, _settle, _write, run_job, snapshot


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


def table(place):
    return StaticTable.from_metadata(place, {"py-io-impl": "pyiceberg.io.fsspec.FsspecFileIO"})


def rows(place):
    return pl.from_arrow(table(place).scan().to_arrow())


@pytest.fixture(autouse=True)
def plan_with_pyiceberg(monkeypatch):
    """Polars' own planner is a package of its own, and warns where it is absent."""
    monkeypatch.setenv("POLARS_ICEBERG_PLANNER", "pyiceberg")


@pytest.fixture
def hands(server):
    """The worker's own functions, called by hand as the role workbench_worker."""
    url, storage = server.database.worker_url, open_storage(str(server.storage))
    worker = Worker(url=url, lake=open_lake(url, storage))
    yield worker
    worker.lake.catalog.engine.dispose()


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


def test_a_run_that_changes_is_written_again_as_its_next_generation(client, server, hands):
    run_id = client.create()
    end = event("run_ended", 1, {"writers": {"late": 1}}, status="done")
    client.send(run_id, [end])
    workspace_id = server.workspace.workspace_id
    assert snapshot(hands, workspace_id) == 1
    assert snapshot(hands, workspace_id) == 0
    client.send(run_id, [event("step_started", 1, writer="late")])
    assert client.http.get("/snapshots").json()["pending"] == 1
    client.http.patch(f"/runs/{run_id}", json={"labels": {"a": 1}})
    assert snapshot(hands, workspace_id) == 1
    said = client.http.get("/snapshots").json()["tables"]
    runs = rows(said["runs"]["metadata_location"]).sort("generation")
    assert runs.select("generation", "events", "health", "labels").rows() == [
        (1, 1, "gap", "{}"),
        (2, 2, "ok", '{"a": 1}'),
    ]
    events = rows(said["events"]["metadata_location"])
    assert events.filter(generation=2).height == 2
    assert said["runs"]["generation"] == 2


def test_what_a_killed_worker_left_is_never_visible(client, server, hands):
    """It had claimed the run and written its events, but not the row that makes them visible."""
    run_id = client.create()
    client.send(run_id, *a_whole_run())
    workspace_id = server.workspace.workspace_id
    with hands.connect() as connection:
        claimed = _claim(connection, workspace_id)
        _write(hands, connection, workspace_id, claimed)
        hands.lake.catalog.drop_table((f"ws_{workspace_id.hex}", "runs"))
    assert client.http.get("/snapshots").json()["pending"] == 1
    assert snapshot(hands, workspace_id) == 1
    said = client.http.get("/snapshots").json()["tables"]
    visible = rows(said["runs"]["metadata_location"]).select("run_id", "generation")
    events = rows(said["events"]["metadata_location"])
    assert events.height == 8
    assert events.join(visible, on=["run_id", "generation"], how="semi").height == 4


def test_a_run_that_changes_while_it_is_written_stays_due(client, server, hands):
    run_id = client.create()
    client.send(run_id, [event("run_ended", 1, {"writers": {"late": 1}}, status="done")])
    workspace_id = server.workspace.workspace_id
    with hands.connect() as connection:
        claimed = _claim(connection, workspace_id)
        _write(hands, connection, workspace_id, claimed)
        client.send(run_id, [event("step_started", 1, writer="late")])
        assert _settle(hands, connection, workspace_id, claimed) == 0
    assert client.http.get("/snapshots").json()["pending"] == 1


def test_a_batch_that_is_there_already_is_not_appended_again(server, hands, client):
    client.send(client.create(), *a_whole_run())
    workspace_id = server.workspace.workspace_id
    snapshot(hands, workspace_id)
    runs = hands.lake.table(workspace_id, "runs")
    content = runs.scan().to_arrow()
    batch = runs.current_snapshot().summary.additional_properties[BATCH]
    append(runs, content, batch=batch)
    assert hands.lake.table(workspace_id, "runs").scan().to_arrow().num_rows == 1
    append(runs, content, batch="another")
    assert hands.lake.table(workspace_id, "runs").scan().to_arrow().num_rows == 2


def test_many_runs_go_in_one_commit_a_table(client, server, hands):
    for _ in range(12):
        client.send(client.create(), *a_whole_run())
    snapshot(hands, server.workspace.workspace_id)
    runs = hands.lake.table(server.workspace.workspace_id, "runs")
    assert (len(runs.metadata.snapshots), runs.scan().to_arrow().num_rows) == (1, 12)


def test_a_job_whose_worker_fails_for_whatever_reason_has_failed(client, server, hands):
    client.send(client.create(), *a_whole_run())
    job_id = client.http.post("/snapshots").json()["job_id"]
    broken = Worker(url=hands.url, lake=None)  # whatever is asked of it is an AttributeError
    with pytest.raises(AttributeError):
        run_job(broken, server.workspace.workspace_id, job_id=job_id)
    with psycopg.connect(server.database.owner_url) as owner:
        query = "select status, error from jobs.jobs where job_id = %s"
        status, error = owner.execute(query, [job_id]).fetchone()
    assert (status, "NoneType" in error["title"]) == ("failed", True)


def test_each_workspace_has_a_prefix_and_tables_of_its_own(client, other, worker, server):
    for each in (client, other):
        each.send(each.create(), *a_whole_run())
        places = wait_for_lake(each)
        assert rows(places["runs"]).height == 1
    prefix = server.storage / "ws" / str(server.workspace.workspace_id) / "lake"
    assert {path.name for path in prefix.iterdir()} == {"runs", "events", "messages"}


def test_messages_are_found_by_their_words(client, server, hands):
    run_id = client.create()
    client.send(run_id, *a_whole_run())
    snapshot(hands, server.workspace.workspace_id)
    with psycopg.connect(server.database.app_url) as connection:
        connection.execute(
            "select set_config('workbench.workspace', %s, true)",
            [str(server.workspace.workspace_id)],
        )
        found = connection.execute(
            "select run_id::text, seq from messages_text where tsv @@ plainto_tsquery('simple', '4')"
        ).fetchall()
    assert found == [(run_id, 3)]


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
