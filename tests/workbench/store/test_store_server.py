import time

import polars as pl
import pytest
from handmade import Log, any_header, any_log, short_run
from hypothesis import HealthCheck, Phase, given, settings

from workbench import errors, frames, hashing
from workbench.schema import RunHeader, RunPatch
from workbench.store import Run, connect, read, remote
from workbench.store.export import export

HEADER = RunHeader(name="first", source="test:a", labels={"n": 1, "ok": True})


@pytest.fixture
def recorded(store) -> Run:
    log = short_run()
    run_id = store.create_run(HEADER)
    store.append(run_id, log.events, log.bodies)
    return store.run(run_id)


def without_server_fields(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.drop("received_at")


def test_a_run_comes_back_as_it_was_sent(recorded):
    log = short_run()

    back = recorded.event_log()

    assert [event.digest for event in back] == [event.digest for event in log.events]
    assert [hashing.event_digest(event) for event in back] == [event.digest for event in back]
    assert recorded.bodies() == log.bodies
    assert recorded.digest == frames.log_root(frames.from_events(log.events))


@settings(
    max_examples=25,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(any_header, any_log())
def test_the_servers_row_is_the_one_computed_from_the_events(store, header, log):
    from msgspec.structs import replace

    run_id = store.create_run(replace(header, run_id=None, source=None))
    store.append(run_id, log.events, log.bodies)

    theirs = store.run(run_id).info
    computed = frames.run_row(replace(header, run_id=run_id, source=None), store.events(run_id))

    assert computed["cost_known_usd"] == pytest.approx(theirs["cost_known_usd"])
    rest = dict.fromkeys(["created_at", "cost_known_usd", "cost_usd", "duration_ms"])
    assert computed | rest == theirs | rest
    assert (computed["cost_usd"] is None) == (theirs["cost_usd"] is None)
    assert computed["duration_ms"] == pytest.approx(theirs["duration_ms"])


def test_every_frame_of_a_run_survives_export_and_reading(recorded, tmp_path):
    there = read(export([recorded], tmp_path / "x"), verify=True).run(recorded.run_id)

    assert there.info == recorded.info
    for name in ("events", "steps", "calls", "messages"):
        assert getattr(there, name).equals(getattr(recorded, name)), name
    assert (there.digest, there.content_root) == (recorded.digest, recorded.content_root)
    assert there.bodies() == recorded.bodies()


# ---- looking runs up


def test_a_run_is_found_by_id_by_its_beginning_and_by_source(store, recorded):
    for wanted in (recorded.run_id, recorded.run_id[:13], "test:a"):
        assert store.run(wanted).run_id == recorded.run_id


def test_an_unknown_run_names_the_nearest(store, recorded):
    almost = recorded.run_id[:-1] + ("0" if recorded.run_id[-1] != "0" else "1")

    with pytest.raises(errors.RunNotFound, match=recorded.run_id):
        store.run(almost)
    with pytest.raises(errors.RunNotFound, match="test:a"):
        store.run("tst:a")


def test_a_beginning_that_several_runs_share_is_refused(store, recorded):
    other = recorded.run_id[:-4] + "0000"
    store.create_run(RunHeader(run_id=other))

    with pytest.raises(errors.UsageError, match="2 runs begin"):
        store.run(recorded.run_id[:20])


def test_a_source_names_the_run_that_supersedes_others(store, recorded):
    newer = store.create_run(RunHeader(source="test:a", supersedes=recorded.run_id))

    assert store.run("test:a").run_id == newer
    assert store.run(recorded.run_id).info["superseded_by"] == newer


def test_a_store_without_runs_has_the_columns_all_the_same(store):
    assert dict(store.runs().schema) == frames.RUNS


def test_listed_runs_have_the_documented_columns_newest_first(store, recorded):
    later = store.create_run(RunHeader(name="second"))
    listed = store.runs()

    assert dict(listed.schema) == frames.RUNS
    assert listed["run_id"].to_list() == [later, recorded.run_id]
    assert listed["labels"].to_list() == ["{}", '{"n":1,"ok":true}']


def test_all_pages_of_a_long_list_are_read(store, monkeypatch):
    monkeypatch.setattr("workbench.store.remote._PAGE", 3)
    made = [store.create_run(RunHeader(name=f"{n}")) for n in range(8)]

    assert store.runs()["run_id"].to_list() == made[::-1]
    assert store.runs(limit=5)["run_id"].to_list() == made[:2:-1]


@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        ({"status": "failed"}, 1),
        ({"status": "done"}, 0),
        ({"name": "first"}, 1),
        ({"source": "test:a"}, 1),
        ({"label": "n:1"}, 1),
        ({"label": "ok:true"}, 1),
        ({"label": "ok:1"}, 0),
        ({"limit": 1}, 1),
        ({}, 2),
    ],
)
def test_server_and_folder_filter_alike(store, recorded, tmp_path, wanted, count):
    other = store.run(store.create_run(RunHeader(name="other")))
    folder = read(export([recorded, other], tmp_path / "x"))

    assert store.runs(**wanted).height == count
    assert folder.runs(**wanted).height == count


def test_a_label_filter_without_a_value_is_refused(store):
    with pytest.raises(errors.UsageError, match="key:value"):
        store.runs(label="n")


# ---- writing


def test_the_same_events_twice_are_stored_once(store, recorded):
    log = short_run()

    receipt = store.append(recorded.run_id, log.events, log.bodies)

    assert (receipt.accepted, receipt.duplicates) == (0, len(log.events))
    assert recorded.refresh().events.height == len(log.events)


def test_a_run_of_the_same_facts_is_found_again(store):
    first = store.declare(RunHeader(run_id="0198f0c2-0000-7000-8000-000000000001"))
    again = store.declare(RunHeader(run_id="0198f0c2-0000-7000-8000-000000000001"))

    assert (first.created, again.created, again.run_id) == (True, False, first.run_id)
    with pytest.raises(errors.Conflict):
        store.declare(RunHeader(run_id=first.run_id, name="another"))


def test_a_batch_with_a_gap_stores_nothing(store):
    log = short_run()
    run_id = store.create_run(RunHeader())

    with pytest.raises(errors.SequenceGap) as refused:
        store.append(run_id, [log.events[0], log.events[2]], log.bodies)

    # nothing of the batch was stored, so it is sent again from its beginning
    assert (refused.value.expected, refused.value.found) == (1, 3)
    assert store.events(run_id).height == 0


def test_a_message_that_was_never_sent_is_asked_for(store):
    log = short_run()
    run_id = store.create_run(RunHeader())

    with pytest.raises(errors.MissingBodies):
        store.append(run_id, log.events)


def test_an_append_of_many_requests_is_one_log(store, monkeypatch):
    monkeypatch.setattr("workbench.store.batches._MOST_EVENTS", 10)
    log = Log()
    log.begin()
    for number in range(20):
        log.end(log.start("tool", "x", {"arguments": {"n": number}}), {"value": number})
    run_id = store.create_run(RunHeader())

    receipt = store.append(run_id, log.events)

    assert (receipt.accepted, receipt.first_seq, receipt.last_seq) == (41, 1, 41)
    assert store.run(run_id).event_log()[-1].digest == log.events[-1].digest


def test_what_a_writer_appends_is_there_soon(store):
    log = short_run()
    with_run = store.writer(RunHeader(name="w"))
    with_run.append(log.events[:4], log.bodies)
    while with_run.waiting:
        time.sleep(0.01)
    before = store.run(with_run.run_id)
    seen = before.events.height
    with_run.append(log.events[4:])
    with_run.close()

    assert (seen, before.events.height) == (4, 4)
    assert before.status == "running"
    assert before.refresh().events.height == len(log.events)
    assert before.status == "failed"


def test_labels_and_name_change_and_a_null_label_goes(store, recorded):
    row = store.patch(recorded.run_id, RunPatch(name="new", labels={"n": None, "why": "x"}))

    assert (row["name"], row["labels"]) == ("new", '{"ok":true,"why":"x"}')
    assert recorded.refresh().labels == {"ok": True, "why": "x"}


def test_an_artifact_comes_back(store):
    sha256 = store.put_artifact(b"\0data")

    assert store.get_artifact(sha256) == b"\0data"
    with pytest.raises(errors.ArtifactNotFound):
        store.get_artifact("0" * 64)


# ---- who may


def test_a_wrong_key_is_refused(server):
    with pytest.raises(errors.Unauthenticated):
        connect(server.url, "wrong")
    with pytest.raises(errors.Unauthenticated):
        connect(server.url)


def test_another_workspace_sees_nothing(server, recorded):
    other = server.make_workspace(f"other-{server.workspace.name}")
    with connect(server.url, other.api_key) as there:
        assert there.workspace_id == str(other.workspace_id)
        assert there.runs().height == 0
        with pytest.raises(errors.RunNotFound):
            there.run(recorded.run_id)


def test_a_reader_may_not_write(server):
    reader = server.make_workspace("default", role="reader")
    with connect(server.url, reader.api_key) as there, pytest.raises(errors.Forbidden):
        there.create_run(RunHeader())


def test_an_unknown_id_is_compared_with_the_newest_runs_and_not_with_all(store, monkeypatch):
    for _ in range(3):
        store.create_run(RunHeader())
    asked, get_json = [], store._wire.get_json
    monkeypatch.setattr(remote, "_PAGE", 2)
    monkeypatch.setattr(
        store._wire, "get_json", lambda path, **query: asked.append(path) or get_json(path, **query)
    )
    unknown = "00000000-0000-0000-0000-000000000000"
    with pytest.raises(errors.RunNotFound):
        store.run(unknown)
    assert asked == [f"/v1/runs/{unknown}", "/v1/runs"]
