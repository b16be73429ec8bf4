"""Importing small files through the live server."""

import json
import os
from random import Random

import msgspec
import pytest
from foreign import dojo, dojo_ask, dojo_call, tau2, tau2_run, tau_bench, tau_bench_run

import workbench as wb
from workbench import hashing
from workbench.errors import Conflict, MalformedFile, ReadOnly, UnknownFormat, UsageError
from workbench.examples.support_desk import draw_case
from workbench.importers import import_paths, run_id_of
from workbench.redaction import Rule
from workbench.replay import bundle
from workbench.schema import RunHeader
from workbench.store import connect, read
from workbench.store.export import export, writer

_USER = {"role": "user", "content": "hello"}


def _put(folder, name, data):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def _counts(summary, *names):
    found = summary.as_dict()
    return tuple(found[name] for name in names)


@pytest.fixture
def runs_folder(tmp_path):
    """A folder with two AgentDojo runs."""
    for n in (0, 1):
        path = f"runs/pipe/banking/user_task_{n}/none/none.json"
        _put(tmp_path, path, dojo([_USER], user_task_id=f"user_task_{n}"))
    return tmp_path / "runs"


def test_a_folder_gives_sources_relative_to_itself(store, runs_folder):
    import_paths(store, "agentdojo", [runs_folder])

    assert sorted(store.runs()["source"]) == [
        "agentdojo:pipe/banking/user_task_0/none/none.json",
        "agentdojo:pipe/banking/user_task_1/none/none.json",
    ]


def test_a_file_given_directly_is_called_by_its_name(store, runs_folder):
    import_paths(store, "agentdojo", [runs_folder / "pipe/banking/user_task_0/none/none.json"])

    assert store.runs()["source"].to_list() == ["agentdojo:none.json"]


def test_files_of_one_name_are_called_by_as_much_of_their_path_as_tells_them_apart(
    store, runs_folder
):
    summary = import_paths(store, "agentdojo", sorted(runs_folder.rglob("*.json")))

    assert _counts(summary, "stored", "changed") == (2, 0)
    assert sorted(store.runs()["source"]) == [
        "agentdojo:user_task_0/none/none.json",
        "agentdojo:user_task_1/none/none.json",
    ]


def test_the_same_files_again_change_nothing_whatever_folder_they_are_named_by(store, runs_folder):
    first = import_paths(store, "agentdojo", [runs_folder])
    before = store.runs()

    second = import_paths(store, "agentdojo", [runs_folder / "pipe", runs_folder])

    assert _counts(first, "runs", "stored") == (2, 2)
    assert _counts(second, "runs", "stored", "changed") == (2, 0, 0)
    assert store.runs().equals(before)


def test_other_bytes_under_the_same_source_replace_the_run(store, tmp_path):
    path = _put(tmp_path, "runs/pipe/banking/user_task_0/none/none.json", dojo([_USER]))
    import_paths(store, "agentdojo", [tmp_path / "runs"])
    [older] = store.runs()["run_id"]

    path.write_bytes(dojo([_USER, _USER]))
    summary = import_paths(store, "agentdojo", [tmp_path / "runs"])

    source = "agentdojo:pipe/banking/user_task_0/none/none.json"
    assert _counts(summary, "runs", "stored", "changed") == (1, 1, 1)
    assert store.run(source).info["supersedes"] == older
    assert store.run(source).messages.height == 2
    assert store.run(older).info["superseded_by"] == store.run(source).run_id


def test_items_of_one_file_are_told_apart_also_when_their_bytes_are_equal(store, tmp_path):
    same = tau_bench_run(traj=[_USER])
    path = _put(tmp_path, "t.json", tau_bench(same, same, tau_bench_run(trial=1)))

    summary = import_paths(store, "tau-bench", [path])

    assert _counts(summary, "runs", "stored", "changed") == (3, 3, 0)
    assert sorted(store.runs()["source"]) == [
        "tau-bench:t.json#task=0,trial=0",
        "tau-bench:t.json#task=0,trial=0,copy=2",
        "tau-bench:t.json#task=0,trial=1",
    ]


def test_an_id_is_made_of_workspace_format_bytes_and_item():
    workspace = "9b6a7a0e-4d5c-4e93-8f62-1e7a5b6f0c11"
    ids = {
        run_id_of(workspace, "tau2", b"a", "k"),
        run_id_of("9b6a7a0e-4d5c-4e93-8f62-1e7a5b6f0c12", "tau2", b"a", "k"),
        run_id_of(workspace, "tau-bench", b"a", "k"),
        run_id_of(workspace, "tau2", b"b", "k"),
        run_id_of(workspace, "tau2", b"a", "l"),
    }

    assert len(ids) == 5
    assert run_id_of(workspace, "tau2", b"a", "k") in ids


def test_one_malformed_file_is_skipped_and_the_rest_goes_on(store, runs_folder):
    _put(runs_folder, "pipe/banking/user_task_2/none/none.json", b'{\n"suite_name": ')
    _put(runs_folder, "pipe/banking/user_task_3/none/none.json", b"")
    _put(runs_folder, "pipe/banking/user_task_4/none/none.json", tau2(tau2_run()))

    summary = import_paths(store, "agentdojo", [runs_folder])

    assert _counts(summary, "runs", "stored") == (2, 2)
    skipped = [(s.file.rpartition("user_task_")[2], s.line, s.reason) for s in summary.skipped]
    assert [(file, line) for file, line, _ in skipped] == [
        ("2/none/none.json", 2),
        ("3/none/none.json", 1),
        ("4/none/none.json", 1),
    ]
    assert skipped[0][2].startswith("malformed_file: the JSON is broken")
    assert "unknown_format" in skipped[2][2]
    assert "tau2" in skipped[2][2]


def test_one_malformed_record_is_skipped_with_its_line(store, tmp_path):
    records = [tau_bench_run(trial=n) for n in range(3)]
    records[1]["traj"] = "nonsense"
    path = _put(tmp_path, "t.json", tau_bench(*records))

    summary = import_paths(store, "tau-bench", [path])

    assert _counts(summary, "runs", "stored") == (2, 2)
    assert [(s.file, s.line) for s in summary.skipped] == [(str(path), 3)]
    assert "traj is not a list" in summary.skipped[0].reason


def test_a_run_that_no_server_takes_is_skipped_whole(store, runs_folder):
    deep = json.loads("[" * 62 + "]" * 62)
    asked = dojo_ask(dojo_call("f", {"x": deep}))
    _put(runs_folder, "pipe/banking/user_task_2/none/none.json", dojo([asked]))

    summary = import_paths(store, "agentdojo", [runs_folder])

    assert "nested too deeply" in summary.skipped[0].reason
    assert store.runs().height == 2
    assert _counts(summary, "stored") == (2,)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_skipped(store, runs_folder):
    _put(runs_folder, "pipe/secret.json", b"{}").chmod(0)

    summary = import_paths(store, "agentdojo", [runs_folder])

    assert len(summary.skipped) == 1


def test_a_file_of_another_format_alone_is_an_error_that_names_it(store, tmp_path):
    path = _put(tmp_path, "x.json", tau2(tau2_run()))

    with pytest.raises(UnknownFormat) as caught:
        import_paths(store, "agentdojo", [path])

    assert caught.value.facts["looks_like"] == "tau2"
    assert caught.value.facts["skipped"][0]["file"] == str(path)
    assert "workbench import tau2" in str(caught.value)
    assert store.runs().height == 0


def test_files_with_zero_runs_are_fine(store, tmp_path):
    paths = [_put(tmp_path, "a.json", tau2()), _put(tmp_path, "b.json", tau2())]

    summary = import_paths(store, "tau2", paths)

    assert summary.as_dict() == {
        "runs": 0,
        "stored": 0,
        "messages": 0,
        "tool_calls": 0,
        "tool_errors": 0,
        "unknown_cost_runs": 0,
        "changed": 0,
        "skipped": [],
    }


@pytest.mark.parametrize(
    ("name", "path", "error"),
    [
        ("agentdojo", "missing", UsageError),
        ("agentdojo", "empty", MalformedFile),
        ("workbench", "missing", UsageError),
        ("workbench", "empty", UnknownFormat),
        ("nonsense", "empty", UsageError),
    ],
)
def test_wrong_use_is_a_clear_error(store, tmp_path, name, path, error):
    (tmp_path / "empty").mkdir()

    with pytest.raises(error):
        import_paths(store, name, [tmp_path / path])


def test_an_exported_folder_takes_no_imports(store, runs_folder, tmp_path):
    import_paths(store, "agentdojo", [runs_folder])
    export([store.run(run_id) for run_id in store.runs()["run_id"]], tmp_path / "exported")

    with read(tmp_path / "exported") as exported, pytest.raises(ReadOnly):
        import_paths(exported, "agentdojo", [runs_folder])


def _breaking(store, method):
    """The same store, whose connection breaks when it comes to this."""

    def break_off(*_args, **_kwargs):
        raise ConnectionResetError

    broken = object.__new__(type("Breaks", (type(store),), {method: break_off}))
    broken.__dict__ |= store.__dict__
    return broken


def test_an_import_that_was_interrupted_leaves_whole_runs_or_none(store, runs_folder):
    with pytest.raises(ConnectionResetError):
        import_paths(_breaking(store, "store_runs"), "agentdojo", [runs_folder])
    assert store.runs().height == 0

    summary = import_paths(store, "agentdojo", [runs_folder])

    assert summary.runs == summary.stored == 2
    assert store.runs()["status"].to_list() == ["done", "done"]


def test_a_large_run_goes_by_itself_and_is_finished_by_the_next_import(
    store, runs_folder, monkeypatch
):
    monkeypatch.setattr("workbench.importers.storing._MOST_EVENTS", 1)
    with pytest.raises(ConnectionResetError):
        import_paths(_breaking(store, "append"), "agentdojo", [runs_folder])
    assert set(store.runs()["status"]) == {"running"}

    summary = import_paths(store, "agentdojo", [runs_folder])

    assert summary.runs == summary.stored == 2
    assert store.runs()["status"].to_list() == ["done", "done"]


def test_a_run_that_the_server_refuses_is_skipped_and_the_others_of_its_request_are_stored(
    store, runs_folder
):
    taken = "agentdojo:pipe/banking/user_task_0/none/none.json"

    class Late(type(store)):
        """Somebody else takes a source after the list was read."""

        def store_runs(self, parcel):
            super().create_run(RunHeader(source=taken))
            return super().store_runs(parcel)

    late = object.__new__(Late)
    late.__dict__ |= store.__dict__
    summary = import_paths(late, "agentdojo", [runs_folder])

    assert _counts(summary, "runs", "stored") == (2, 1)
    [skipped] = summary.skipped
    assert skipped.file.endswith("user_task_0/none/none.json")
    assert skipped.reason.startswith("conflict: another run has this source")


def test_a_request_that_is_too_much_for_the_server_goes_in_halves(
    server, store, runs_folder, monkeypatch
):
    for n in range(2, 9):
        path = f"pipe/banking/user_task_{n}/none/none.json"
        _put(runs_folder, path, dojo([_USER], user_task_id=f"user_task_{n}"))
    store._wire.send_json("PATCH", "/v1/limits", {"unpacked_bytes": 6_000})

    summary = import_paths(store, "agentdojo", [runs_folder])

    assert _counts(summary, "runs", "stored") == (9, 9)
    assert summary.skipped == []


def test_a_workspace_is_not_touched_by_an_import_into_another(server, store, runs_folder):
    other = server.make_workspace(f"other-{server.workspace.name}")
    with connect(server.url, other.api_key) as second:
        import_paths(second, "agentdojo", [runs_folder])

        assert second.runs().height == 2
    assert store.runs().height == 0


def test_progress_counts_what_was_read(store, runs_folder):
    seen = []

    import_paths(store, "agentdojo", [runs_folder], progress=seen.append)

    assert seen == [1, 2]


def test_exported_runs_keep_their_ids_and_events(server, store, runs_folder, tmp_path):
    call = dojo([_USER, dojo_ask(dojo_call("f", {"n": 1}))], error="stopped")
    _put(runs_folder, "pipe/banking/user_task_2/none/none.json", call)
    import_paths(store, "agentdojo", [runs_folder])
    runs = [store.run(run_id) for run_id in store.runs()["run_id"]]
    export(runs, tmp_path / "exported")
    other = server.make_workspace(f"other-{server.workspace.name}")

    with connect(server.url, other.api_key) as second:
        summary = import_paths(second, "workbench", [tmp_path])
        again = import_paths(second, "workbench", [tmp_path / "exported"])

        assert _counts(summary, "runs", "stored", "messages", "tool_calls") == (3, 3, 4, 1)
        assert _counts(again, "runs", "stored", "changed") == (3, 0, 0)
        copies = [second.run(run.run_id) for run in runs]
        assert [c.digest for c in copies] == [run.digest for run in runs]
        assert [c.source for c in copies] == [run.source for run in runs]
        assert [c.labels for c in copies] == [run.labels for run in runs]
        assert [c.status for c in copies] == [run.status for run in runs]
        assert [c.messages.rows() for c in copies] == [run.messages.rows() for run in runs]


def forged(folder, run):
    """Export a run under its own id, with one event that says something else, hashed anew."""
    log = run.event_log()
    at = next(i for i, event in enumerate(log) if event.event_type == "call_ended")
    log[at] = hashing.sealed(msgspec.structs.replace(log[at], duration_ms=99.0, digest=None))
    made = writer(folder, RunHeader(run_id=run.run_id, source=run.source, name=run.name))
    made.append(log, run.bodies())
    made.close()
    return made.folder


def test_c14_a_run_id_that_is_taken_by_other_events_is_refused(store, runs_folder, tmp_path):
    import_paths(store, "agentdojo", [runs_folder])
    run_id = store.runs()["run_id"][0]
    run = store.run(run_id)
    digest = run.digest
    other = forged(tmp_path / "other", run)

    with pytest.raises(Conflict, match="with other events") as refused:
        import_paths(store, "workbench", [other])
    with pytest.raises(Conflict):
        import_paths(store, "workbench", [bundle(read(other).run(run_id), tmp_path / "o.zip")])

    assert len(refused.value.facts["skipped"]) == 1
    assert store.run(run_id).digest == digest
    assert store.runs().height == 2
    summary = import_paths(store, "workbench", [export([run], tmp_path / "same"), other])
    assert _counts(summary, "runs", "stored", "changed") == (2, 0, 0)
    assert "conflict" in summary.skipped[0].reason


def test_a_bundle_is_imported_with_its_artifacts_and_its_certificate(server, store, tmp_path):
    run = wb.record(store, "workbench.examples.support_desk:agent", draw_case(Random(3)).input)
    result = wb.replay(run)
    file = bundle(result.run, tmp_path / "run.zip")
    assert wb.verify(file).ok
    key = server.make_workspace("another").api_key

    with connect(server.url, key) as there:
        import_paths(there, "workbench", [file])
        again = there.run(result.run.run_id)
        assert again.digest == result.run.digest
        assert wb.verify(again).ok
        names = {check.name for check in wb.verify(again).checks}
    assert {"certificate.digest", "source.log_root", "replay.log_root"} <= names


def test_a_damaged_export_is_refused(store, runs_folder, tmp_path):
    import_paths(store, "agentdojo", [runs_folder])
    exported = tmp_path / "exported"
    export([store.run(run_id) for run_id in store.runs()["run_id"]], exported)
    said = json.loads((exported / "manifest.json").read_text())
    said["files"]["events.parquet"] = "0" * 64
    (exported / "manifest.json").write_text(json.dumps(said))

    with pytest.raises(MalformedFile):
        import_paths(store, "workbench", [exported])


def test_what_is_imported_is_redacted_by_the_workspace_s_rules(store, tmp_path):
    store.administration.change_redaction([Rule(name="email", pattern=r"[\w.]+@[\w.]+")])
    said = {"role": "user", "content": "I am ann@example.org"}
    path = _put(tmp_path, "run.json", dojo([said], user_task_id="user_task_0"))
    summary = import_paths(store, "agentdojo", [path])

    assert _counts(summary, "stored", "changed") == (1, 0)
    run = store.run(store.runs()["run_id"][0])
    text = str(run.bodies()) + str([bytes(event.payload) for event in run.event_log()])
    assert "example" not in text
    assert "I am ⟨email:" in text
    assert all(event.digest == hashing.event_digest(event) for event in run.event_log())
    assert _counts(import_paths(store, "agentdojo", [path]), "stored", "changed") == (0, 0)
