"""Each wall alone: row-level security under the real role, and the role itself."""

import subprocess
import sys

import psycopg
import pytest
from speaking import Client, a_whole_run

TABLES = (
    "runs", "writers", "events", "messages", "run_messages", "messages_text", "artifacts",
    "snapshots", "jobs.jobs",
)  # fmt: skip


@pytest.fixture
def two_workspaces(own_server):
    """Both workspaces hold a row in every table that ingestion fills."""
    for key in (own_server.api_key, own_server.make_workspace("other").api_key):
        each = Client(own_server.url, key)
        each.send(each.create(name="mine"), *a_whole_run())
        each.http.put(
            "/artifacts/2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae",
            content=b"foo",
        )
        each.http.post("/snapshots")
        each.http.close()
    return own_server


def entered(database, workspace_id):
    connection = psycopg.connect(database.app_url)
    connection.execute("select set_config('workbench.workspace', %s, false)", [str(workspace_id)])
    return connection


def foreign_rows(database, workspace_id):
    """Table → rows of others that a bare select shows; nothing where the wall stands."""
    with entered(database, workspace_id) as connection:
        counts = {
            table: connection.execute(
                f"select count(*) from {table} where workspace_id <> %s", [workspace_id]
            ).fetchone()[0]
            for table in TABLES
        }
    return {table: n for table, n in counts.items() if n}


FILLED = {
    "runs", "writers", "events", "messages", "run_messages", "messages_text", "artifacts",
    "jobs.jobs",
}  # fmt: skip


def test_a_bare_select_shows_only_its_own_workspace(two_workspaces):
    here = two_workspaces.workspace.workspace_id
    assert foreign_rows(two_workspaces.database, here) == {}
    with entered(two_workspaces.database, here) as connection:
        own = {
            table
            for table in TABLES
            if connection.execute(f"select count(*) from {table}").fetchone()[0]
        }
    assert own == FILLED


def test_the_check_sees_a_policy_that_lets_everything_through(two_workspaces):
    here = two_workspaces.workspace.workspace_id
    with psycopg.connect(two_workspaces.database.owner_url) as owner:
        for table in TABLES:
            owner.execute(f"alter policy workspace_only on {table} using (true)")
    assert set(foreign_rows(two_workspaces.database, here)) == FILLED


def test_every_table_but_two_stands_behind_the_wall(database):
    with psycopg.connect(database.owner_url) as owner:
        rows = owner.execute(
            "select n.nspname, c.relname, c.relrowsecurity and c.relforcerowsecurity"
            " from pg_class c join pg_namespace n on n.oid = c.relnamespace"
            " where c.relkind in ('r', 'p') and n.nspname in ('public', 'jobs')"
            " and c.relname not like 'procrastinate%'"
        ).fetchall()
    open_tables = {name for _, name, walled in rows if not walled}
    assert open_tables == {"workspaces", "api_keys", "migrations"}


@pytest.mark.parametrize("table", ["workspaces", "api_keys", "migrations"])
@pytest.mark.parametrize("role", ["app_url", "worker_url"])
def test_the_roles_cannot_read_what_stands_outside(database, role, table):
    with (
        psycopg.connect(getattr(database, role)) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(f"select * from {table}")


@pytest.mark.parametrize("table", TABLES)
def test_an_unset_workspace_is_an_error_never_everything(database, table):
    with psycopg.connect(database.app_url, autocommit=True) as connection:
        with pytest.raises(psycopg.Error, match="unrecognized configuration parameter"):
            connection.execute(f"select * from {table}")
        with connection.transaction():
            connection.execute(
                "select set_config('workbench.workspace', gen_random_uuid()::text, true)"
            )
        with pytest.raises(psycopg.Error, match="invalid input syntax for type uuid"):
            connection.execute(f"select * from {table}")


def test_a_row_cannot_be_written_into_another_workspace(two_workspaces):
    with (
        entered(two_workspaces.database, two_workspaces.workspace.workspace_id) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"),
    ):
        connection.execute(
            "insert into run_messages values (gen_random_uuid(), gen_random_uuid(), '\\x00')"
        )


def test_the_app_role_cannot_reach_the_queue_or_the_lake(database):
    with psycopg.connect(database.app_url, autocommit=True) as connection:
        for query in (
            "select * from jobs.procrastinate_jobs",
            "create table lake.x (i int)",
            "select * from workspaces_with_work()",
            "select create_workspace('x', '\\x00', 'admin')",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(query)


def test_no_route_answers_with_another_workspace(client, other):
    run_id = client.create(name="mine", source="test:one")
    client.send(run_id, *a_whole_run())
    for path in (f"/runs/{run_id}", f"/runs/{run_id}/events", f"/runs/{run_id}/bodies"):
        answer = other.http.get(path)
        assert (answer.status_code, answer.json()["code"]) == (404, "run_not_found")
    assert other.http.get("/runs?source=test:one").json()["runs"] == []
    assert other.send(run_id, *a_whole_run()).status_code == 404
    assert other.http.patch(f"/runs/{run_id}", json={"name": "theirs"}).status_code == 404
    assert client.row(run_id)["name"] == "mine"


def test_the_same_run_id_in_two_workspaces_is_two_runs(client, other):
    run_id = client.create(name="mine")
    assert other.create(name="theirs", run_id=run_id) == run_id
    assert (client.row(run_id)["name"], other.row(run_id)["name"]) == ("mine", "theirs")


@pytest.mark.parametrize("url", ["owner_url", "bench_url"])
@pytest.mark.parametrize(
    ("command", "variable"),
    [("serve", "WORKBENCH_APP_DATABASE_URL"), ("worker", "WORKBENCH_WORKER_DATABASE_URL")],
)
def test_a_role_above_the_wall_is_refused(database, server_environment, command, variable, url):
    unsafe = server_environment | {variable: getattr(database, url)}
    done = subprocess.run(
        [sys.executable, "-m", "workbench_server", command],
        env=unsafe, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr.partition(":")[0]) == (3, "unsafe_role")
    assert "Traceback" not in done.stderr
