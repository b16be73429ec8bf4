"""The hot queries go by the key's index, never through a table."""

import json
from uuid import uuid4

import psycopg
import pytest
from workbench_server.queries import queries

WORKSPACE, RUN = uuid4(), uuid4()
KEY = {"workspace_id": WORKSPACE, "run_id": RUN}
BLOCK = {"after": 15000, "before": 16000, "rows": 100, "bytes": 1000, "failed": False}


@pytest.fixture(scope="module")
def full(postgres):
    """A database with enough rows that the planner has a choice."""
    from running import _database

    with _database(postgres) as made, psycopg.connect(made.owner_url, autocommit=True) as owner:
        owner.execute(
            "insert into runs (workspace_id, run_id, header_hash, created_at)"
            " select %s, gen_random_uuid(), '\\x00', now() - i * interval '1 s'"
            " from generate_series(1, 5000) i",
            [WORKSPACE],
        )
        owner.execute(
            "insert into events (workspace_id, run_id, seq, writer, writer_seq, event_type,"
            " version, received_at, digest, payload)"
            " select %s, case when i %% 10 = 0 then %s else gen_random_uuid() end, i, 'w', i, 'chunk', 1,"
            " now(), sha256(i::text::bytea), '\\x00' from generate_series(1, 20000) i",
            [WORKSPACE, RUN],
        )
        owner.execute("analyze")
        yield made


def plan_of(database, file, name, parameters):
    with psycopg.connect(database.app_url) as connection:
        connection.execute("select set_config('workbench.workspace', %s, true)", [str(WORKSPACE)])
        sql = queries(file)[name]
        rows = connection.execute(b"explain (format json) " + sql, parameters).fetchone()
    return json.dumps(rows[0])


@pytest.mark.parametrize(
    ("file", "name", "parameters", "index"),
    [
        ("ingest", "lock_run", {}, "runs_key"),
        ("ingest", "known_digests", {"keys": '[{"writer":"w","writer_seq":10}]'}, "events_"),
        ("reading", "events", BLOCK, "events_key"),
        ("reading", "timeline", BLOCK, "events_key"),
        ("live", "state", {}, "runs_key"),
        ("live", "states", {"run_ids": [RUN]}, "runs_key"),
        ("live", "page", {"after": 15000, "limit": 100, "bytes": 1000}, "events_key"),
        ("runs", "header_hash", {}, "runs_key"),
        ("reading", "snapshots_pending", {}, "runs_snapshot_due"),
    ],
)  # fmt: skip
def test_a_hot_query_goes_by_its_index(full, file, name, parameters, index):
    plan = plan_of(full, file, name, KEY | parameters)
    assert f'"Index Name": "{index}' in plan
    assert "Seq Scan" not in plan
