"""``runs`` narrowed, sorted and searched, ``sessions`` and ``cancel``, in this process."""

import json

import pytest
from handmade import exported, short_run
from test_looking import command  # noqa: F401 - the fixture that runs a command

from workbench import errors, frames
from workbench.schema import RunHeader
from workbench.store import read
from workbench.store.export import export


@pytest.fixture
def three(monkeypatch, server, store):
    """A failed run, a fork of it, and one that goes on; on a server the environment names."""
    monkeypatch.setenv("WORKBENCH_URL", server.url)
    monkeypatch.setenv("WORKBENCH_API_KEY", server.api_key)
    log = short_run()
    failed = store.create_run(
        RunHeader(name="refund incident", session="night/1", labels={"suite": "bank"})
    )
    store.append(failed, log.events, log.bodies)
    fork = store.create_run(RunHeader(name="fork", parent_run_id=failed, forked_at=2))
    going = store.create_run(RunHeader(name="going on", session="night/1", agent="m:f"))
    return {"failed": failed, "fork": fork, "going": going}


def names(out):
    return [row["name"] for row in json.loads(out)["runs"]]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--status", "failed"], ["refund incident"]),
        (["--status", "failed", "--status", "running"], ["going on", "fork", "refund incident"]),
        (["--search", "incident or going"], ["going on", "refund incident"]),
        (["--search", "suite bank -fork"], ["refund incident"]),
        (["--session", "night/1", "--sort", "name"], ["going on", "refund incident"]),
        (["--sort", "events"], ["refund incident", "going on", "fork"]),
        (["--sort", "name:desc", "--limit", "1"], ["refund incident"]),
        (["--agent", "m:f"], ["going on"]),
        (["--label", "suite:bank", "--min-tokens", "1"], ["refund incident"]),
        (["--health", "gap"], []),
        (["--ended-after", "2026-01-01", "--min-ms", "1"], ["refund incident"]),
        (["--created-before", "2026-01-01"], []),
    ],
)
def test_runs_are_narrowed_sorted_and_searched(command, three, arguments, expected):  # noqa: F811
    code, out, _ = command("runs", *arguments, "--json")
    assert (code, names(out)) == (0, expected)


def test_forks_of_a_run_are_listed_and_shown_from_both_sides(command, three):  # noqa: F811
    _, out, _ = command("runs", "--parent", "refund", "--json")
    assert json.loads(out)["error"]["code"] == "run_not_found"
    _, out, _ = command("runs", "--parent", three["failed"], "--json")
    assert names(out) == ["fork"]
    _, out, _ = command("show", three["fork"])
    assert f"forked  from {three['failed']} at 2" in out
    _, out, _ = command("show", three["failed"])
    assert f"forks    {three['fork']} running" in out
    assert "session  night/1" in out
    _, out, _ = command("show", three["failed"], "--json")
    assert json.loads(out)["forks"] == [three["fork"]]


def test_a_run_that_another_supersedes_says_so(command, store, three):  # noqa: F811
    newer = store.create_run(RunHeader(supersedes=three["fork"]))
    assert f"superseded  by {newer}" in command("show", three["fork"])[1]
    assert f"supersedes  {three['fork']}" in command("show", newer)[1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["runs", "--status", "finished"], "status is not known"),
        (["runs", "--health", "bad"], "health is not known"),
        (["runs", "--mode", "x"], "mode is not known"),
        (["runs", "--sort", "colour"], "nothing can be sorted so"),
        (["runs", "--sort", "cost:up"], "nothing can be sorted so"),
        (["runs", "--created-after", "soon"], "created_after is no time"),
        (["runs", "--search", "!!"], "the search has no words"),
        (["sessions", "--sort", "colour"], "nothing can be sorted so"),
        (["cancel", "00000000-0000-0000-0000-000000000009"], "run_not_found"),
    ],
)
def test_wrong_use_is_a_sentence_that_says_what_was_expected(command, three, arguments, said):  # noqa: F811
    code, out, err = command(*arguments)
    assert (code, out) == (2, "")
    assert said in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "arguments", [["runs", "--status", "finished"], ["sessions", "--sort", "colour"]]
)
def test_a_folder_refuses_the_same(command, tmp_path, arguments):  # noqa: F811
    folder = exported(tmp_path / "runs", short_run())
    assert command(*arguments, "--store", folder)[0] == 2


def test_a_folder_says_that_it_cannot_search(command, tmp_path):  # noqa: F811
    folder = exported(tmp_path / "runs", short_run())
    code, _, err = command("runs", "--search", "x", "--store", folder)
    assert code == 2
    assert "exported runs have no index to search in" in err


def test_a_run_is_cancelled_once_and_an_ended_one_is_a_conflict(command, three, store):  # noqa: F811
    code, out, _ = command("cancel", three["going"], "--reason", "enough")
    assert (code, out) == (0, f"{three['going']} cancelled\n")
    assert store.run(three["going"]).exception["message"] == "enough"
    code, out, _ = command("cancel", three["going"][:-1], "--json")
    assert (code, json.loads(out)["run"]["status"]) == (0, "cancelled")
    code, _, err = command("cancel", three["failed"])
    assert code == 2
    assert "expected cancelled, found failed" in err


def test_a_folder_s_run_cannot_be_cancelled(command, tmp_path):  # noqa: F811
    folder = exported(tmp_path / "runs", short_run())
    code, _, err = command("cancel", "00000000-0000-0000-0000-000000000001", "--store", folder)
    assert code == 2
    assert "read_only" in err


def test_sessions_are_listed_as_a_table_and_as_json(command, three):  # noqa: F811
    code, out, _ = command("sessions")
    assert code == 0
    assert out.splitlines()[0].split()[:3] == ["session", "runs", "failed"]
    assert out.splitlines()[1].split()[:3] == ["night/1", "2", "1"]
    _, out, _ = command("sessions", "night/1", "--json")
    [row] = json.loads(out)["sessions"]
    assert (row["session"], row["runs"], row["running"]) == ("night/1", 2, 1)
    code, out, err = command("sessions", "nothing")
    assert (code, out, err) == (0, "", "no sessions\n")


# ---- the store behind the commands


def test_server_and_folder_agree_on_filters_order_sessions_and_manifests(store, tmp_path):
    runs = []
    for i in range(3):
        log = short_run()
        header = RunHeader(
            name=f"n{i}", session="a/b" if i else None, labels={"confidence": i / 2, "x": "y"}
        )
        runs.append(store.create_run(header))
        store.append(runs[-1], log.events, log.bodies)
    folder = read(export([store.run(run_id) for run_id in runs], tmp_path / "x"))
    for wanted in (
        {"status": ["failed", "done"]}, {"session": "a/b"}, {"label": ["x:y", "confidence:0.5"]},
        {"sort": "name"}, {"sort": "name:desc"}, {"sort": "duration_ms:asc"}, {"sort": "tokens"},
        {"sort": "cost"}, {"min_tokens": 1}, {"max_tokens": 0}, {"min_cost_usd": 0.01},
        {"max_cost_usd": 9}, {"health": "ok"}, {"mode": "exact"}, {"parent_run_id": runs[0]},
        {"ended_after": "2026-03-01"}, {"ended_before": "2026-03-01T00:00:00+02:00"},
        {"created_after": "2026-03-01"}, {"min_duration_ms": 1}, {"max_duration_ms": 1},
    ):  # fmt: skip
        there = store.runs(**wanted)["run_id"].to_list()
        assert (wanted, folder.runs(**wanted)["run_id"].to_list()) == (wanted, there)
    known = [n for n in frames.SESSIONS if n not in ("messages", "messages_runs")]
    assert folder.sessions().select(known).equals(store.sessions().select(known))
    here, there = folder.manifest(runs[0]), store.manifest(runs[0])
    for name in ("events", "event_types", "calls", "artifacts", "entity_types", "status"):
        assert (name, here[name]) == (name, there[name])
    assert here["hashes"]["log_root"] == there["hashes"]["log_root"] == store.run(runs[0]).digest


def test_artifacts_are_a_frame_wherever_they_lie(store, tmp_path):
    from handmade import Log

    from workbench.schema import ArtifactCreated

    log = Log()
    log.begin()
    digest = store.put_artifact(b"plan")
    log.add(
        "artifact_created",
        ArtifactCreated(sha256=digest, size=4, entity_type="plan", tags=["a", "b"]),
    )
    log.finish()
    run_id = store.create_run(RunHeader())
    store.append(run_id, log.events)
    folder = read(export([store.run(run_id)], tmp_path / "x"))
    for each, stored in ((store, True), (folder, False)):
        found = each.artifacts(entity_type="plan", tag=["a", "b"])
        assert dict(found.schema) == frames.ARTIFACTS
        assert found.select("run_id", "seq", "sha256", "tags", "stored").rows() == [
            (run_id, 2, digest, ["a", "b"], stored)
        ]
        assert each.artifacts(tag="c").height == each.artifacts(run_id=runs_none()).height == 0
        assert each.run(run_id).manifest["artifact_count"] == 1


def runs_none():
    return "00000000-0000-0000-0000-000000000000"


def test_an_unknown_filter_is_refused_before_anything_is_asked(store):
    with pytest.raises(errors.UsageError, match="no such filter"):
        store.runs(colour="red")
    with pytest.raises(errors.UsageError, match="status is not known"):
        store.runs(status="finished")


def test_a_run_cancels_itself_and_shows_what_it_became(store):
    run = store.run(store.create_run(RunHeader(name="x")))
    assert run.cancel(reason="r").status == run.status == "cancelled"
    assert run.forks.height == 0
    with pytest.raises(errors.Conflict, match="another status"):
        store.end(run, status="done")
