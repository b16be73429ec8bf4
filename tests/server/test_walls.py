"""Each wall alone: row-level security under the real role, and the role itself.

That each query keeps to its workspace without row-level security is in test_wall_of_queries.py.
"""

import subprocess
import sys
from contextlib import suppress
from uuid import UUID, uuid4

import psycopg
import pytest
import walk
from speaking import a_whole_run

TENANTS = (
    "select n.nspname || '.' || c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace"
    " join pg_attribute a on a.attrelid = c.oid and a.attname = 'workspace_id' and not a.attisdropped"
    " where c.relkind in ('r', 'p') and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'"
    " order by 1"
)
OUTSIDE = {"public.workspaces", "public.api_keys"}  # reached through functions alone
HERE, THERE = UUID(int=2), UUID(int=1)
# A value for a column that wants one, by its type.
VALUES = {
    "uuid": "gen_random_uuid()", "text": "'x'", "bytea": "sha256('')", "date": "current_date",
    "jsonb": "'{}'", "tsvector": "''", "boolean": "false", "text[]": "'{}'", "bytea[]": "'{}'",
    "timestamp with time zone": "now()", "bigint": "1", "integer": "1", "smallint": "1",
    "double precision": "1",
}  # fmt: skip


def tenants(owner):
    """Every table whose rows belong to workspaces, in any schema: new ones come by themselves."""
    return [name for (name,) in owner.execute(TENANTS).fetchall() if name not in OUTSIDE]


def wanting(owner, table):
    """The columns of a table that have to be given, and their types."""
    return dict(
        owner.execute(
            "select attname, format_type(atttypid, atttypmod) from pg_attribute"
            " where attrelid = %s::regclass and attnum > 0 and not attisdropped and attnotnull"
            " and not atthasdef and attidentity = '' and attname <> 'workspace_id'",
            [table],
        ).fetchall()
    )


@pytest.fixture
def both(database):
    """A row of each of two workspaces in every table; what a column means does not matter here."""
    with psycopg.connect(database.owner_url, autocommit=True) as owner:
        owner.execute("set session_replication_role = replica")
        for table in tenants(owner):
            checks = owner.execute(
                "select conname from pg_constraint where conrelid = %s::regclass and contype = 'c'",
                [table],
            ).fetchall()
            for (check,) in checks:
                owner.execute(f"alter table {table} drop constraint {check}")
            columns = wanting(owner, table)
            names = ", ".join(["workspace_id", *(f'"{name}"' for name in columns)])
            values = ", ".join(["%s", *(VALUES[kind] for kind in columns.values())])
            for workspace_id in (HERE, THERE):
                owner.execute(f"insert into {table} ({names}) values ({values})", [workspace_id])
    return database


def tables_of(database):
    with psycopg.connect(database.owner_url) as owner:
        return tenants(owner)


def entered(url, workspace_id=HERE):
    connection = psycopg.connect(url, autocommit=True)
    connection.execute("select set_config('workbench.workspace', %s, false)", [str(workspace_id)])
    return connection


def seen(database, url):
    """Table → whose rows a bare select shows, where it is not one's own row alone."""
    with entered(url) as connection:
        found = {
            table: sorted(
                row[0] for row in connection.execute(f"select workspace_id from {table}").fetchall()
            )
            for table in tables_of(database)
        }
    return {table: rows for table, rows in found.items() if rows != [HERE]}


@pytest.mark.parametrize("role", ["app_url", "worker_url"])
def test_a_bare_select_shows_only_its_own_workspace(both, role):
    assert len(tables_of(both)) >= 9
    assert seen(both, getattr(both, role)) == {}


def test_the_check_sees_a_policy_that_lets_everything_through(both):
    for table in tables_of(both):
        with psycopg.connect(both.owner_url, autocommit=True) as owner:
            owner.execute(f"alter policy workspace_only on {table} using (true)")
            assert seen(both, both.app_url) == {table: [THERE, HERE]}
            owner.execute(
                f"alter policy workspace_only on {table}"
                " using (workspace_id = current_setting('workbench.workspace')::uuid)"
            )
    assert seen(both, both.app_url) == {}


def test_the_check_sees_a_role_that_bypasses(both, postgres):
    url = walk.bypassing(both, postgres)
    assert seen(both, url) == {table: [THERE, HERE] for table in tables_of(both)}


@pytest.mark.parametrize("role", ["app_url", "worker_url"])
def test_a_bare_change_changes_only_its_own_workspace(both, role):
    """An update and a delete without `where`, wherever the role may do them at all."""
    with psycopg.connect(both.owner_url) as owner:
        before = {
            table: owner.execute(
                f"select to_jsonb(t) from {table} t where workspace_id = %s", [THERE]
            ).fetchall()
            for table in tenants(owner)
        }
    with entered(getattr(both, role)) as connection:
        for table in before:
            for statement in (
                f"update {table} set workspace_id = workspace_id",
                f"delete from {table}",
            ):
                with suppress(psycopg.errors.InsufficientPrivilege):
                    connection.execute(statement)
    with psycopg.connect(both.owner_url) as owner:
        after = {
            table: owner.execute(
                f"select to_jsonb(t) from {table} t where workspace_id = %s", [THERE]
            ).fetchall()
            for table in before
        }
    assert after == before


def test_no_row_can_be_written_into_another_workspace(both):
    with psycopg.connect(both.owner_url) as owner:
        columns = {table: wanting(owner, table) for table in tenants(owner)}
    with entered(both.app_url) as connection:
        for table, wanted in columns.items():
            names = ", ".join(["workspace_id", *(f'"{name}"' for name in wanted)])
            values = ", ".join(["%s", *(VALUES[kind] for kind in wanted.values())])
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
                connection.execute(f"insert into {table} ({names}) values ({values})", [uuid4()])
            with suppress(psycopg.errors.InsufficientPrivilege):
                moved = connection.execute(f"update {table} set workspace_id = %s", [THERE])
                pytest.fail(f"{table}: {moved.rowcount} rows were moved")


def test_every_table_but_three_stands_behind_the_wall(database):
    with psycopg.connect(database.owner_url) as owner:
        rows = owner.execute(
            "select n.nspname || '.' || c.relname,"
            " c.relrowsecurity and c.relforcerowsecurity and exists ("
            "  select from pg_policy p where p.polrelid = c.oid and p.polname = 'workspace_only'"
            "  and p.polcmd = '*' and p.polpermissive and p.polroles = '{0}'"
            "  and pg_get_expr(p.polqual, c.oid)"
            "    ~ '^.workspace_id = .current_setting..workbench.workspace.::text..::uuid.$'"
            "  and p.polwithcheck is null"
            " ) and (select count(*) from pg_policy p where p.polrelid = c.oid) = 1"
            " from pg_class c join pg_namespace n on n.oid = c.relnamespace"
            " where c.relkind in ('r', 'p', 'm', 'f') and n.nspname !~ '^pg_'"
            " and n.nspname <> 'information_schema' and c.relname not like 'procrastinate%'"
        ).fetchall()
    assert {name for name, walled in rows if not walled} == {*OUTSIDE, "public.migrations"}


def test_every_tenant_s_key_begins_with_the_workspace(database):
    with psycopg.connect(database.owner_url) as owner:
        rows = owner.execute(
            "select i.indrelid::regclass::text, i.indexrelid::regclass::text, a.attname"
            " from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]"
            " where i.indisunique and i.indrelid::regclass::text = any(%s)",
            [[name.removeprefix("public.") for name in tenants(owner)]],
        ).fetchall()
    assert len(rows) >= 9
    assert [row for row in rows if row[2] != "workspace_id"] == []


def test_every_function_of_the_owner_keeps_its_search_path_and_is_not_for_all(database):
    with psycopg.connect(database.owner_url) as owner:
        rows = owner.execute(
            "select p.oid::regprocedure::text, coalesce(array_to_string(p.proconfig, ';'), ''),"
            " coalesce(p.proacl::text, '{=X/}')"
            " from pg_proc p join pg_namespace n on n.oid = p.pronamespace"
            " where p.prosecdef and n.nspname !~ '^pg_' and p.proname not like 'procrastinate%'"
        ).fetchall()
    assert len(rows) >= 10
    for name, settings, rights in rows:
        path = next(one for one in settings.split(";") if one.startswith("search_path="))
        assert path.endswith("pg_temp"), name
        assert "=X/" not in rights.replace("workbench_app=X/", "").replace(
            "workbench_worker=X/", ""
        ).replace("postgres=X/", ""), (name, rights)


@pytest.mark.parametrize("table", ["workspaces", "api_keys"])
@pytest.mark.parametrize("role", ["app_url", "worker_url"])
def test_the_roles_cannot_read_what_stands_outside(database, role, table):
    with (
        psycopg.connect(getattr(database, role)) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(f"select * from {table}")


def test_an_unset_workspace_is_an_error_never_everything(both):
    for table in tables_of(both):
        with psycopg.connect(both.app_url, autocommit=True) as connection:
            with pytest.raises(psycopg.Error, match="unrecognized configuration parameter"):
                connection.execute(f"select * from {table}")
            with connection.transaction():
                connection.execute(
                    "select set_config('workbench.workspace', gen_random_uuid()::text, true)"
                )
            with pytest.raises(psycopg.Error, match="invalid input syntax for type uuid"):
                connection.execute(f"select * from {table}")


def test_the_app_role_cannot_reach_the_queue_or_the_lake(database):
    with psycopg.connect(database.app_url, autocommit=True) as connection:
        for query in (
            "select * from jobs.procrastinate_jobs",
            "create table lake.x (i int)",
            "select * from workspaces_with_work()",
            "select create_workspace('x', '\\x00', 'admin')",
            "select is_live(null::api_keys)",
            "select shown(null::api_keys)",
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
