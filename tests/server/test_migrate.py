import secrets
import subprocess
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
from running import _binaries, _configuration
from workbench_server.migrate import migrate
from workbench_server.versions import own_migrations

from workbench.errors import Conflict


@pytest.fixture
def empty(postgres):
    name = f"t_{secrets.token_hex(6)}"
    with postgres.owner() as connection:
        connection.execute(f"create database {name} template template0")
    yield name
    with postgres.owner() as connection:
        connection.execute(f"drop database {name} with (force)")


def schema_of(postgres, database):
    dump = _binaries() / "bin" / "pg_dump"
    done = subprocess.run(
        [dump, "--schema-only", "--dbname", postgres.address(database)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    # Newer tools fence the dump with a random word.
    return [line for line in done.stdout.splitlines() if "restrict" not in line]


def test_migrating_again_applies_nothing(postgres, database):
    assert migrate(_configuration(postgres, database.name)) == []


def test_a_database_migrated_step_by_step_equals_a_fresh_one(postgres, database, empty):
    configuration = _configuration(postgres, empty)
    steps = [migrate(configuration, until=name) for name in own_migrations()]
    assert steps == [["queue", "0001_workspaces.sql"], *([n] for n in list(own_migrations())[1:])]
    assert schema_of(postgres, empty) == schema_of(postgres, database.name)


def test_the_queue_s_own_schema_equals_its_migrations(postgres, database, empty):
    configuration = _configuration(postgres, empty)
    migrate(configuration, until="0000")
    with psycopg.connect(postgres.address(empty), autocommit=True) as connection:
        connection.execute("drop schema jobs cascade")
        connection.execute("create schema jobs")
        # A database of an early version knows the first of the queue's migrations only.
        rows = connection.execute(
            "delete from migrations where name > (select min(name) from migrations) returning name"
        ).fetchall()
        first = connection.execute("select name from migrations").fetchone()[0]
        import procrastinate

        folder = Path(procrastinate.__file__).parent / "sql" / "migrations"
        connection.execute("set search_path = jobs")
        connection.execute((folder / first.removeprefix("queue/")).read_text().encode())
    assert len(rows) > 10
    assert migrate(configuration)[0] == "queue"
    tables = "select table_name, column_name, data_type from information_schema.columns"
    tables += " where table_schema = 'jobs' order by 1, 2"
    functions = (
        "select proname, prosrc from pg_proc where pronamespace = 'jobs'::regnamespace order by 1"
    )

    def read(name, query):
        with psycopg.connect(postgres.address(name)) as connection:
            return connection.execute(query).fetchall()

    for query in (tables, functions):
        assert read(empty, query) == read(database.name, query)


def test_a_changed_migration_is_refused(postgres, database):
    with psycopg.connect(database.owner_url) as connection:
        connection.execute("update migrations set sha256 = 'x' where name = '0002_log.sql'")
    with pytest.raises(Conflict, match="0002_log"):
        migrate(_configuration(postgres, database.name))


def test_the_app_role_owns_nothing_and_bypasses_nothing(database):
    with psycopg.connect(database.app_url) as connection:
        row = connection.execute(
            "select rolsuper, rolbypassrls, (select count(*) from pg_class where relowner = r.oid)"
            " from pg_roles r where rolname = current_user"
        ).fetchone()
    assert row == (False, False, 0)


def test_no_statement_carries_a_password(postgres, database):
    with psycopg.connect(database.owner_url) as connection:
        stored = connection.execute(
            "select rolpassword from pg_authid where rolname = 'workbench_app'"
        ).fetchone()[0]
    assert stored.startswith("SCRAM-SHA-256$")
    assert postgres.password not in stored


# ---- rows of an earlier version

ONE, TWO = UUID(int=1), UUID(int=2)
OLD, NEW = UUID(int=9), UUID(int=3)


def test_rows_of_an_earlier_version_keep_their_bodies(postgres, empty):
    configuration = _configuration(postgres, empty)
    migrate(configuration, until="0011_operation.sql")
    digests = [bytes([n]) * 32 for n in range(4)]
    with psycopg.connect(postgres.address(empty)) as owner:
        for workspace in (ONE, TWO):
            owner.execute(
                "insert into workspaces (workspace_id, name) values (%s, %s)",
                [workspace, str(workspace)],
            )
            owner.execute("select set_config('workbench.workspace', %s, true)", [str(workspace)])
            for day, run_id in enumerate((OLD, NEW), start=1):
                owner.execute(
                    "insert into runs (workspace_id, run_id, header_hash, created_at)"
                    " values (%s, %s, '', %s)",
                    [workspace, run_id, f"2026-01-0{day}"],
                )
            for digest in digests:
                owner.execute(
                    "insert into messages (workspace_id, digest, body) values (%s, %s, 'b')",
                    [workspace, digest],
                )
        # Another workspace's links of the same runs are others.
        linked = [(ONE, OLD, 0), (ONE, OLD, 1), (ONE, NEW, 1), (ONE, NEW, 2), (TWO, NEW, 0)]
        for workspace, run_id, number in linked:
            owner.execute(
                "insert into run_messages (workspace_id, run_id, digest) values (%s, %s, %s)",
                [workspace, run_id, digests[number]],
            )
    migrate(configuration)
    with psycopg.connect(postgres.address(empty)) as owner:
        owned = owner.execute("select workspace_id, run_id, digest from messages").fetchall()
        shared = owner.execute("select workspace_id, run_id, seq, digests from shared_messages")
        zero, one, two, three = digests
        assert sorted(owned, key=str) == sorted(
            [
                (ONE, OLD, zero), (ONE, OLD, one), (ONE, NEW, two), (ONE, None, three),
                (TWO, NEW, zero), (TWO, None, one), (TWO, None, two), (TWO, None, three),
            ],
            key=str,
        )  # fmt: skip
        assert shared.fetchall() == [(ONE, NEW, 1, [one])]
