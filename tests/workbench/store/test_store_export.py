import gc
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import fsspec
import msgspec
import polars as pl
import pytest
from handmade import any_header, any_log, exported, short_run
from hypothesis import given, settings

from workbench import errors, frames
from workbench.schema import RunHeader
from workbench.store import manifest, read
from workbench.store.export import export, writer
from workbench.store.parts import ROWS_PER_GROUP

FIRST = "00000000-0000-0000-0000-000000000001"


@pytest.fixture
def folder(tmp_path) -> Path:
    return exported(tmp_path / "runs", short_run(), short_run())


@settings(max_examples=40)
@given(any_header, any_log())
def test_what_is_exported_reads_back_equal(header, log):
    with tempfile.TemporaryDirectory() as scratch:
        first = writer(Path(scratch, "first"), header)
        first.append(log.events, log.bodies)
        first.close()
        run = read(first.folder).run(first.run_id)
        again = read(export([run], Path(scratch, "again")), verify=True).run(first.run_id)
        events = frames.from_events(log.events)

        assert again.event_log() == log.events
        assert again.bodies() == log.bodies
        assert again.labels == {k: v for k, v in header.labels.items() if v is not None}
        assert again.info == run.info
        assert again.digest == frames.log_root(events)
        assert again.content_root == frames.content_root(events)
        assert again.steps.equals(frames.steps(events))
        assert again.calls.equals(frames.calls(events))


def test_equal_runs_give_equal_bytes(folder, tmp_path):
    store = read(folder)
    runs = [store.run(run_id) for run_id in store.runs()["run_id"]]

    again = export([*reversed(runs), runs[0]], tmp_path / "again")

    for name in [manifest.NAME, *manifest.FILES]:
        assert (again / name).read_bytes() == (folder / name).read_bytes()


def test_an_export_has_the_four_files_and_nothing_stays_beside_it(folder):
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [manifest.NAME, *manifest.FILES]
    )
    assert not list(folder.parent.glob(".*"))
    assert json.loads((folder / manifest.NAME).read_text())["runs"] == 2


def test_runs_are_sorted_so_that_row_groups_are_skipped(folder):
    import pyarrow.parquet as pq

    events = pl.read_parquet(folder / "events.parquet")
    statistics = pq.ParquetFile(folder / "events.parquet").metadata.row_group(0).column(0)

    assert events.select("run_id", "seq").equals(events.select("run_id", "seq").sort("run_id"))
    assert statistics.statistics.min == events["run_id"].min()
    assert statistics.compression == "ZSTD"


def test_an_export_is_not_replaced_unless_asked(folder):
    runs = [read(folder).run(FIRST)]

    with pytest.raises(errors.Conflict, match="--overwrite"):
        export(runs, folder)
    export(runs, folder, overwrite=True)

    assert read(folder, verify=True).runs().height == 1


def test_a_folder_that_is_no_export_is_never_replaced(folder, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    runs = [read(folder).run(FIRST)]

    for target in (mine, mine / "thesis.txt"):
        with pytest.raises(errors.Conflict):
            export(runs, target, overwrite=True)

    assert (mine / "thesis.txt").read_text() == "years of work"


def test_an_empty_folder_is_filled(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    run = read(folder).run(FIRST)

    assert read(export([run], tmp_path / "empty")).runs().height == 1


def test_an_object_store_is_not_taken_for_a_folder(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path / "..")
    run = read(folder).run(FIRST)

    for target in ("s3://bucket/runs", Path("s3://bucket/runs")):
        with pytest.raises(errors.UsageError, match="copy"):
            export([run], target)


def test_no_run_is_nothing_to_export(tmp_path):
    with pytest.raises(errors.UsageError):
        export([], tmp_path / "x")

    assert not list(tmp_path.iterdir())


def test_an_export_that_fails_leaves_nothing(folder, tmp_path):
    target = tmp_path / "new" / "export"
    store = read(folder)
    runs = [store.run(run_id) for run_id in store.runs()["run_id"]]
    (folder / "bodies.parquet").write_bytes(b"PAR1 no more")

    with pytest.raises(errors.MalformedFile):
        export(runs, target)

    assert not list(target.parent.iterdir())


# ---- a new run


def test_a_run_written_event_by_event_gets_seq_in_order_of_arrival(tmp_path):
    log = short_run()
    single = writer(tmp_path / "new", RunHeader(name="n"))
    for event in log.events:
        single.append([msgspec.structs.replace(event, seq=None, digest=None)])
    single.append(log.events[:2], log.bodies)
    single.close()
    single.close()

    run = read(single.folder).run(single.run_id)

    assert run.event_log() == log.events
    assert (run.name, run.status) == ("n", "failed")


def test_nothing_is_there_before_a_new_run_is_closed(tmp_path):
    single = writer(tmp_path / "new", RunHeader())
    single.append(short_run().events)

    assert not list(tmp_path.iterdir())


def many(count):
    """The events of a long run, and its first of all once more."""
    run = short_run().events
    rest = [
        msgspec.structs.replace(run[1], writer_seq=number, seq=None, digest=None)
        for number in range(len(run) + 1, count + 1)
    ]
    return [*run, *rest, run[0]]


def test_a_long_run_is_written_while_it_comes(tmp_path):
    """In the row groups it has when it is exported, however its events came."""
    count = 2 * ROWS_PER_GROUP + 500
    events = many(count)
    single = writer(tmp_path / "new", RunHeader())
    for begins in range(0, len(events), 3_700):
        single.append(events[begins : begins + 3_700])
        assert len(single._waiting) < ROWS_PER_GROUP  # what is kept does not grow
    assert not (tmp_path / "new").exists()
    assert next(tmp_path.glob(".new.*/events.parquet")).stat().st_size
    single.close()

    run = read(tmp_path / "new", verify=True).run(single.run_id)
    assert run.events["seq"].to_list() == list(range(1, count + 1))
    assert run.events["writer_seq"].to_list() == list(range(1, count + 1))
    assert run.info["events"] == count
    assert run.info == {**run.info, **frames.run_row(single._header, run.events)}
    again = export([run], tmp_path / "again")
    for name in manifest.FILES:
        assert (again / name).read_bytes() == (tmp_path / "new" / name).read_bytes()


def test_a_long_run_that_is_never_closed_leaves_nothing(tmp_path):
    single = writer(tmp_path / "new", RunHeader())
    single.append(many(ROWS_PER_GROUP))
    assert list(tmp_path.glob(".new.*"))

    del single
    gc.collect()

    assert not list(tmp_path.iterdir())


def test_a_long_run_that_cannot_be_written_leaves_nothing(tmp_path, monkeypatch):
    single = writer(tmp_path / "new", RunHeader())
    single.append(many(ROWS_PER_GROUP))
    monkeypatch.setattr(single._parts, "put_events", lambda *_: 1 / 0)

    for _ in range(2):  # nor is it tried again
        with pytest.raises(ZeroDivisionError):
            single.append(many(3 * ROWS_PER_GROUP))
    with pytest.raises(ZeroDivisionError):
        single.close()

    assert not list(tmp_path.iterdir())


FORKING = """
import os, sys
from test_store_export import many
from workbench.schema import RunHeader
from workbench.store.export import writer
single = writer(sys.argv[1], RunHeader())
events = many(30_000)
single.append(events[:25_000])
if os.fork() == 0:
    sys.exit(0)  # with all that Python does when a process ends
os.wait()
single.append(events[25_000:])
single.close()
"""


def test_a_process_that_was_forked_meanwhile_takes_nothing_away(tmp_path):
    command = [sys.executable, "-c", FORKING, str(tmp_path / "new")]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})

    run = read(tmp_path / "new", verify=True)
    assert run.runs()["events"].to_list() == [30_000]
    assert run.events(run.runs()["run_id"][0])["seq"].to_list() == list(range(1, 30_001))


def test_a_long_run_does_not_take_the_place_of_one_that_came_meanwhile(tmp_path):
    first, second = (writer(tmp_path / "new", RunHeader(name=name)) for name in "ab")
    for single in (first, second):
        single.append(many(ROWS_PER_GROUP))
    first.close()

    with pytest.raises(errors.Conflict):
        second.close()

    assert read(tmp_path / "new").runs()["name"].to_list() == ["a"]
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_a_new_run_does_not_take_the_place_of_an_export(folder):
    with pytest.raises(errors.Conflict):
        writer(folder, RunHeader())


def test_an_empty_run_can_be_written(tmp_path):
    single = writer(tmp_path / "new", RunHeader())
    single.close()

    run = read(tmp_path / "new").run(single.run_id)

    assert (run.status, run.events.height, run.calls.height) == ("running", 0, 0)


# ---- folders that are not right


def test_a_folder_without_a_manifest_is_of_another_format(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")

    with pytest.raises(errors.UnknownFormat, match=r"notes\.txt"):
        read(tmp_path)


@pytest.mark.parametrize("place", ["nowhere", "file.json"])
def test_a_place_that_is_no_folder_is_of_another_format(tmp_path, place):
    (tmp_path / "file.json").write_text("{}")

    with pytest.raises(errors.UnknownFormat, match="workbench export"):
        read(tmp_path / place)


@pytest.mark.parametrize(
    "said",
    [
        {"format": "another", "version": 1},
        {"format": "workbench-export", "version": 2},
        {"format": "workbench-export"},
        [],
    ],
)
def test_another_format_or_version_is_refused(folder, said):
    (folder / manifest.NAME).write_text(json.dumps(said))

    with pytest.raises(errors.UnknownFormat, match="workbench-export 1"):
        read(folder)


@pytest.mark.parametrize("text", ["{", "", '{"format": "workbench-export", "version": 1}', "\xff"])
def test_a_broken_manifest_is_a_malformed_file(folder, text):
    (folder / manifest.NAME).write_bytes(text.encode("latin-1"))

    with pytest.raises(errors.MalformedFile, match=r"manifest\.json"):
        read(folder)


@pytest.mark.parametrize("name", manifest.FILES)
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()

    with pytest.raises(errors.MalformedFile, match=name):
        read(folder)


@pytest.mark.parametrize("name", manifest.FILES)
@pytest.mark.parametrize("content", [b"", b"no parquet", None])
def test_a_corrupt_file_is_named(folder, name, content):
    path = folder / name
    path.write_bytes(content if content is not None else path.read_bytes()[:-40])

    with pytest.raises(errors.MalformedFile, match=name):
        read(folder)


@pytest.mark.parametrize("name", manifest.FILES)
def test_a_file_that_is_corrupt_inside_is_named_when_it_is_read(folder, name):
    path = folder / name
    data = path.read_bytes()
    path.write_bytes(data[:4] + bytes(200) + data[204:])

    with pytest.raises(errors.MalformedFile, match=name):
        read_everything(folder)


def read_everything(folder):
    run = read(folder).run(FIRST)
    return run.events, run.bodies()


@pytest.mark.parametrize("name", manifest.FILES)
def test_a_changed_byte_is_found_when_asked(folder, name):
    path = folder / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)

    with pytest.raises(errors.MalformedFile, match=name):
        read(folder, verify=True)


def test_a_file_of_other_columns_is_named(folder):
    pl.DataFrame({"run_id": ["a"]}).write_parquet(folder / "events.parquet")

    with pytest.raises(errors.MalformedFile, match=r"events\.parquet.*payload"):
        read(folder)


# ---- elsewhere


def test_an_export_in_an_object_store_reads_as_on_disk(folder):
    memory = fsspec.filesystem("memory")
    memory.put(str(folder), "/an-export", recursive=True)

    there, here = read("memory://an-export", verify=True), read(folder)

    assert there.runs().equals(here.runs())
    for run_id in here.runs()["run_id"]:
        assert there.run(run_id).events.equals(here.run(run_id).events)
        assert there.run(run_id).bodies() == here.run(run_id).bodies()


def test_a_protocol_nobody_knows_cannot_be_reached():
    with pytest.raises(errors.Unavailable, match="gopher"):
        read("gopher://runs")
