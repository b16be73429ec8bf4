import time

import polars as pl
import pytest
from handmade import Log, short_run

from workbench import errors
from workbench.schema import RunHeader, RunPatch
from workbench.store import read
from workbench.store.lake import Lake


def send(store, log: Log, **facts) -> str:
    run_id = store.create_run(RunHeader(**facts))
    store.append(run_id, log.events, log.bodies)
    return run_id


@pytest.fixture
def snapshot(worker, store):
    """Brings the lake up to date."""

    def bring() -> None:
        store._wire.send_json("POST", "/v1/snapshots", {})
        deadline = time.monotonic() + 60
        while not store.snapshots()["tables"] or store.snapshots()["pending"]:
            assert time.monotonic() < deadline, "the worker made no snapshot"
            time.sleep(0.05)

    return bring


COUNTS = "select run_id, count(*) as n from events group by run_id order by run_id"


def test_runs_that_are_in_no_snapshot_are_queried_all_the_same(store):
    run_id = send(store, short_run(), name="a")

    assert store.sql(COUNTS).rows() == [(run_id, 9)]
    assert store.sql("select role, text from messages order by index").rows() == [
        ("assistant", "because"),
        ("tool", ""),
    ]


def test_a_query_over_the_lake_gives_what_the_runs_hold(store, snapshot):
    first, second = send(store, short_run(), name="a"), send(store, short_run(), name="b")
    snapshot()
    assert Lake.found(store.snapshots()["tables"]).current(store.runs()).height == 2

    found = store.sql("select * from events where run_id = '" + first + "' order by seq")

    assert found.drop("run_id").equals(store.events(first))
    assert store.sql(COUNTS).rows() == sorted([(first, 9), (second, 9)])
    assert store.sql("select count(*) from messages").item() == 2 * store.run(first).messages.height


def test_a_snapshot_and_what_came_after_it_are_one_table(store, snapshot):
    first = send(store, short_run(), name="a")
    snapshot()
    second = send(store, short_run(), name="b")

    assert store.sql(COUNTS).rows() == sorted([(first, 9), (second, 9)])


def test_a_run_that_changed_after_its_snapshot_counts_once(store, snapshot):
    run_id = send(store, short_run(), name="a")
    snapshot()
    store.patch(run_id, RunPatch(labels={"seen": True}))
    snapshot()

    assert store.sql(COUNTS).rows() == [(run_id, 9)]
    assert store.sql("select labels from runs").rows() == [('{"seen":true}',)]


def test_a_snapshot_that_is_older_than_its_run_is_not_current(store, snapshot):
    send(store, short_run(), name="a")
    snapshot()
    lake = Lake.found(store.snapshots()["tables"])
    moved_on = store.runs().with_columns(pl.col("events") + 1)

    assert lake.current(store.runs()).height == 1
    assert lake.current(moved_on).height == 0


def test_a_lake_that_cannot_be_read_is_fetched_instead(store, snapshot, server):
    import shutil

    run_id = send(store, short_run(), name="a")
    snapshot()
    shutil.rmtree(server.storage / "ws" / store.workspace_id)

    assert store.sql(COUNTS).rows() == [(run_id, 9)]


def test_data_files_that_go_while_a_query_runs_are_fetched_instead(store, snapshot, server):
    run_id = send(store, short_run(), name="a")
    snapshot()
    for file in (server.storage / "ws" / store.workspace_id / "lake").glob("events/data/*"):
        file.unlink()

    assert store.sql(COUNTS).rows() == [(run_id, 9)]


# ---- exported folders


@pytest.fixture
def folder(tmp_path):
    from handmade import exported

    return read(exported(tmp_path / "runs", short_run(), short_run()))


def test_an_exported_folder_is_queried_in_place(folder):
    ids = sorted(folder.runs()["run_id"])

    assert folder.sql(COUNTS).rows() == [(run_id, 9) for run_id in ids]
    assert folder.sql("select count(*) from messages m join runs using (run_id)").item() == 4


def test_a_folder_of_any_name_is_queried(tmp_path):
    from handmade import exported

    odd = read(exported(tmp_path / "it's [a] *?{x} %20 ü", short_run()))

    assert odd.sql("select count(*) from events").item() == 9


def test_an_export_in_an_object_store_is_queried_in_place(folder):
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.put(folder.address, "/query-of-an-export", recursive=True)
    there = read("memory://query-of-an-export")

    assert there.sql(COUNTS).equals(folder.sql(COUNTS))


def test_sums_are_integers_unless_they_do_not_fit(folder):
    fits, not_so = folder.sql(
        "select sum(seq) a, sum(170141183460469231731687303715884105::hugeint) b from events"
    ).row(0)

    assert (fits, type(fits)) == (90, int)
    assert not_so == 18 * 170141183460469231731687303715884105


@pytest.mark.parametrize("table", ["runs", "events", "messages"])
def test_the_tables_have_the_documented_columns(folder, table):
    from workbench import frames

    columns = {
        "runs": frames.RUNS,
        "events": {"run_id": pl.String, **frames.EVENTS},
        "messages": {"run_id": pl.String, **frames.MESSAGES},
    }[table]

    assert dict(folder.sql(f"select * from {table}").schema) == columns


@pytest.mark.parametrize(
    "query", ["selec", "select nothing from runs", "select * from elsewhere", ""]
)
def test_a_query_that_makes_no_sense_is_refused_by_name(folder, query):
    with pytest.raises(errors.UsageError) as refused:
        folder.sql(query)

    assert "events, messages, runs" in str(refused.value)


@pytest.mark.parametrize("name", ["query", "engine", "secret"])
def test_a_variable_of_python_is_no_table(folder, name):
    secret = pl.DataFrame({"a": [1]})

    with pytest.raises(errors.UsageError, match=f"Table with name {name} does not exist"):
        folder.sql(f"select * from {name}")
    assert secret.height == 1
