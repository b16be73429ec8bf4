"""What a worker does for the lake, done step by step, where no worker looks for the same work."""

import psycopg
import pytest
from lake_places import rows
from speaking import a_whole_run, event
from workbench_server.storage import open_storage
from workbench_server.worker.lake import BATCH, append, open_lake
from workbench_server.worker.snapshot import Worker, _claim, _settle, _write, run_job, snapshot


@pytest.fixture
def server(server_alone):
    """A live worker takes up what is due every ten seconds, in every workspace."""
    return server_alone


@pytest.fixture
def hands(server):
    """The worker's own functions, called by hand as the role workbench_worker."""
    url, storage = server.database.worker_url, open_storage(str(server.storage))
    worker = Worker(url=url, lake=open_lake(url, storage))
    yield worker
    worker.lake.catalog.engine.dispose()


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
