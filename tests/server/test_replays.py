"""A replay that is asked of the server: one for each key, and the same as one made by oneself."""

import json
import os
import random
import subprocess
import sys
from uuid import UUID

import psycopg
import pytest
from langchain_core.messages import BaseMessage
from replays_asked import SLOW, over, running
from speaking import Client
from strengths import isolated

import workbench as wb
from workbench.errors import Conflict, NotFound, NotReplayable, RunNotFound, UsageError
from workbench.examples import support_desk


@pytest.fixture(autouse=True)
def nothing_left(server):
    """What a test asked for and did not wait for is not played behind the next one."""
    yield
    with psycopg.connect(server.database.owner_url) as owner:
        owner.execute(
            "update jobs.jobs set status = 'cancelled' where workspace_id = %s"
            " and kind = 'replay' and status = 'queued'",
            [server.workspace.workspace_id],
        )


@pytest.fixture
def run(store):
    """A run of the example agent, recorded into the server."""
    case = support_desk.draw_case(random.Random(7))
    agent = "workbench.examples.support_desk:agent"
    return wb.record(store, agent, case.input, effects=support_desk.EFFECTS)


@pytest.fixture
def slow_run(store, gate):
    """A run whose replay waits until the gate is there again."""
    gate.touch()
    recorded = wb.record(store, SLOW, str(gate))
    gate.unlink()
    return recorded


def unnamed(output):
    """What was given back, without the ids that LangGraph draws anew each time."""
    match output:
        case dict():
            return {name: unnamed(value) for name, value in output.items() if name != "id"}
        case list():
            return [unnamed(value) for value in output]
        case BaseMessage():
            return output.model_copy(update={"id": None})
        case _:
            return output


def without_ids(certificate):
    """What does not name a run, nor hash its times."""
    sides = {
        side: {"content_root": certificate[side]["content_root"]} for side in ("source", "replay")
    }
    return {name: said for name, said in {**certificate, **sides}.items() if name != "digest"}


# ---- what comes of it


@isolated
def test_a_replay_by_the_server_is_the_same_as_one_made_here(store, run, worker):
    here = wb.replay(run, isolate=True)
    there = wb.replay(run, "support", on="server")
    assert there.identical
    assert there.identical == here.identical
    assert there.divergences == here.divergences
    assert there.matches.equals(here.matches)
    assert unnamed(there.output) == unnamed(here.output)
    assert without_ids(there.certificate) == without_ids(here.certificate)
    assert there.certificate["strength"] == "isolated"
    assert there.run.content_root == here.run.content_root == run.content_root
    replayed = there.certificate["replay"]
    assert (replayed["run_id"], replayed["log_root"]) == (there.run.run_id, there.run.digest)
    assert replayed["content_root"] == there.run.content_root
    for name in ("name", "agent", "mode", "status", "health", "parent_run_id", "calls", "events"):
        assert there.run.info[name] == here.run.info[name], name
    assert {**there.run.labels, "certificate": ""} == {**here.run.labels, "certificate": ""}
    kept = store.get_artifact(there.run.labels["certificate"])
    assert json.loads(kept) == there.certificate


@isolated
def test_a_difference_is_told_as_it_is_here(store, slow_run, gate, worker):
    here = wb.replay(slow_run, "slow_agents:other", isolate=True, collect=True)
    there = wb.replay(slow_run, "other", collect=True, on="server")
    assert not there.identical
    assert there.divergences == here.divergences != []
    assert there.matches.equals(here.matches)
    assert without_ids(there.certificate) == without_ids(here.certificate)
    assert (there.run.status, here.run.status) == ("diverged", "diverged")


@isolated
def test_a_row_says_how_it_stands_and_what_came_of_it(store, run, worker):
    asked = store.replays.submit(run.run_id, key="nightly")
    assert asked["status"] in ("queued", "running")
    assert asked["asked"] == {
        "run_id": run.run_id,
        "agent": "support",
        "mode": "exact",
        "overrides": {},
        "on_miss": "fail",
        "budget": None,
        "collect": False,
        "order": "declared",
        "key": "nightly",
    }
    row = over(store, asked["job_id"])
    result = row["result"]
    assert (row["status"], row["run_id"], row["error"]) == ("done", asked["run_id"], None)
    assert row["progress"] == {"done": run.calls.height, "total": run.calls.height}
    assert (result["identical"], result["status"], result["divergences"]) == (True, "done", 0)
    assert result["calls"]["consumed"] == run.calls.height
    assert row["attempts"] == 1
    assert row["created_at"] <= row["started_at"] <= row["heartbeat_at"] <= row["ended_at"]
    assert store.replays.list() == [row]
    assert store.replays.list(run_id=run.run_id, status="done") == [row]
    assert store.replays.list(status="failed") == []


@isolated
def test_a_replay_leaves_no_key_behind(store, run, server, worker):
    before = store.administration.keys()
    wb.replay(run, "support", on="server")
    with psycopg.connect(server.database.owner_url) as owner:
        lent = owner.execute(
            "select count(*) from api_keys where lent_to is not null and workspace_id = %s",
            [server.workspace.workspace_id],
        ).fetchone()
    assert lent == (0,)
    assert len(store.administration.keys()) == len(before)


@isolated
def test_what_cannot_be_replayed_fails_with_its_own_error(store, client, server, worker):
    run_id = client.create(agent=SLOW)
    asked = store.replays.submit(run_id, agent="slow")
    row = over(store, asked["job_id"])
    assert (row["status"], row["error"]["code"]) == ("failed", "not_replayable")
    assert row["result"] is None
    assert store.runs(parent_run_id=run_id).is_empty()
    with pytest.raises(NotReplayable):
        store.replays.wait(asked["job_id"])


@isolated
def test_an_agent_that_takes_its_process_along_fails_alone(store, slow_run, worker):
    row = over(store, store.replays.submit(slow_run.run_id, agent="dying")["job_id"])
    assert (row["status"], row["error"]["code"]) == ("failed", "not_replayable")
    assert row["attempts"] == 1


@isolated
def test_the_command_gives_the_same_as_the_verb(server, run, worker):
    said = {"WORKBENCH_API_KEY": server.api_key, "WORKBENCH_URL": server.url}
    words = ["replay", run.run_id, "--on-server", "--agent", "support", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "workbench", *words],
        env={**os.environ, **said},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["identical"], answer["certificate"]["strength"]) == (True, "isolated")


@pytest.mark.parametrize("given", [{"redact": []}, {"into": object()}, {"timeout": 1.0}])
def test_what_works_here_alone_is_not_sent(run, given):
    with pytest.raises(UsageError):
        wb.replay(run, "support", on="server", **given)
    with pytest.raises(UsageError, match="by name"):
        wb.replay(run, support_desk.agent, on="server")


def test_only_a_server_has_workers():
    store = wb.open("datasets")
    with pytest.raises(UsageError, match="only a server"):
        wb.replay(store.run(store.runs()["run_id"][0]), "support", on="server")


# ---- one for each key


def test_the_same_key_and_body_find_the_same_replay(store, run):
    first = store.replays.submit(run.run_id, agent="support", key="k")
    again = store.replays.submit(run.run_id, agent="support", key="k")
    assert (again["job_id"], again["run_id"]) == (first["job_id"], first["run_id"])
    assert len(store.replays.list()) == 1


def test_the_first_is_accepted_and_the_next_is_answered(client, run):
    body = {"run_id": run.run_id, "key": "k"}
    assert client.http.post("/replays", json=body).status_code == 202
    # In another order, and with a default said.
    again = client.http.post("/replays", json={"key": "k", "mode": "exact", "run_id": run.run_id})
    assert again.status_code == 200


@pytest.mark.parametrize(
    "other",
    [
        {"mode": "cached"},
        {"collect": True},
        {"order": "completed"},
        {"mode": "cached", "on_miss": "error"},
        {"overrides": {"tool:x": "simulated"}},
        {"agent": "slow"},
    ],
)
def test_another_body_by_the_same_key_is_refused(store, run, other):
    store.replays.submit(run.run_id, agent="support", key="k")
    with pytest.raises(Conflict) as caught:
        store.replays.submit(run.run_id, key="k", **{"agent": "support", **other})
    assert caught.value.where == "key"
    assert caught.value.hint
    assert len(store.replays.list()) == 1


def test_without_a_key_each_is_a_replay_of_its_own(store, run):
    jobs = {store.replays.submit(run.run_id)["job_id"] for _ in range(2)}
    assert len(jobs) == 2


def test_many_at_once_by_one_key_are_one(server, run):
    from concurrent.futures import ThreadPoolExecutor

    def ask(_):
        client = Client(server.url, server.api_key)
        with client.http as http:
            return http.post("/replays", json={"run_id": run.run_id, "key": "k"})

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(16)))
    assert sorted(answer.status_code for answer in answers) == [200] * 15 + [202]
    assert len({answer.json()["job_id"] for answer in answers}) == 1


def test_a_key_of_another_workspace_is_another_replay(store, server, run):
    first = store.replays.submit(run.run_id, key="k")
    other = server.make_workspace("replays-beside")
    with Client(server.url, other.api_key).http as http:
        assert http.post("/replays", json={"run_id": run.run_id, "key": "k"}).status_code == 404
        assert http.get("/replays").json()["replays"] == []
        assert http.get(f"/replays/{first['job_id']}").status_code == 404
        assert http.post(f"/replays/{first['job_id']}/cancel").status_code == 404
    assert not store.replays.get(first["job_id"])["cancel_requested"]


# ---- what is refused


def test_the_agents_are_listed_by_name_and_nothing_else(client):
    listed = client.http.get("/agents").json()
    assert {agent["name"] for agent in listed["agents"]} >= {"support", "slow"}
    assert all(set(agent) == {"name", "live"} for agent in listed["agents"])
    assert "slow_agents" not in str(listed)


def test_an_agent_that_is_not_registered_is_refused_with_those_that_are(store, run):
    with pytest.raises(UsageError) as caught:
        store.replays.submit(run.run_id, agent="suport")
    assert "support" in caught.value.expected
    assert caught.value.hint == "Did you mean support?"


@pytest.mark.parametrize("path", ["workbench.examples.support_desk:agent", "os:system", ":"])
def test_an_import_path_is_refused(client, run, path):
    answer = client.http.post("/replays", json={"run_id": run.run_id, "agent": path})
    problem = answer.json()
    assert (answer.status_code, problem["where"]) == (422, "agent")
    assert "import path" in problem["title"]
    assert problem["hint"]
    assert client.http.get("/replays").json()["replays"] == []


def test_a_run_whose_own_agent_is_not_registered_needs_a_name(store, client):
    run_id = client.create(agent="nobody:knows")
    with pytest.raises(UsageError) as caught:
        store.replays.submit(run_id)
    assert caught.value.found == "nobody:knows"
    assert store.replays.submit(run_id, agent="slow")["asked"]["agent"] == "slow"


def test_a_run_that_is_not_there_is_refused(store):
    with pytest.raises(RunNotFound):
        store.replays.submit(str(UUID(int=1, version=4)), agent="slow")
    with pytest.raises(NotFound):
        store.replays.submit("nightly", agent="slow")


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"mode": "fast"}, "mode"),
        ({"on_miss": "guess"}, "on_miss"),
        ({"overrides": {"lookup": "cached"}}, "overrides"),
        ({"overrides": {"tool:": "cached"}}, "overrides"),
        ({"key": ""}, "key"),
        ({"mode": "exact", "on_miss": "error"}, "on_miss"),
        ({"mode": "live", "budget": {"calls": -1}}, "budget"),
        ({"target": "os:system"}, None),
    ],
)
def test_what_does_not_fit_is_refused_with_a_hint(client, run, body, where):
    answer = client.http.post("/replays", json={"run_id": run.run_id} | body)
    problem = answer.json()
    assert (answer.status_code, problem.get("where")) == (422, where)
    assert problem["hint"]


def test_a_replay_that_is_not_there_is_not_found(store):
    for wanted in (str(UUID(int=1, version=4)), "nobody"):
        with pytest.raises(NotFound) as caught:
            store.replays.get(wanted)
        assert caught.value.hint


def test_replays_are_paged_newest_first(store, run):
    asked = [store.replays.submit(run.run_id)["job_id"] for _ in range(3)]
    answer = store._wire.get_json("/v1/replays", limit=2)
    rest = store._wire.get_json("/v1/replays", limit=2, cursor=answer["next_cursor"])
    listed = [row["job_id"] for row in (*answer["replays"], *rest["replays"])]
    assert (listed, rest["next_cursor"]) == (asked[::-1], None)


# ---- cancelled


def test_one_that_waits_is_cancelled_at_once(own_store, own_run):
    job_id = own_store.replays.submit(own_run, agent="slow")["job_id"]
    assert own_store.replays.cancel(job_id)["status"] == "cancelled"
    assert own_store.replays.cancel(job_id)["status"] == "cancelled"
    with pytest.raises(NotReplayable):
        own_store.replays.wait(job_id)


@isolated
def test_one_that_runs_is_ended_and_leaves_nothing(store, slow_run, worker):
    asked = store.replays.submit(slow_run.run_id, agent="slow")
    running(store, asked["job_id"])
    assert store.replays.cancel(asked["job_id"])["cancel_requested"]
    row = over(store, asked["job_id"])
    assert (row["status"], row["result"], row["error"]) == ("cancelled", None, None)
    with pytest.raises(RunNotFound):
        store.run(row["run_id"])


@isolated
def test_one_that_is_done_is_not_cancelled(store, run, worker):
    row = over(store, store.replays.submit(run.run_id)["job_id"])
    with pytest.raises(Conflict) as caught:
        store.replays.cancel(row["job_id"])
    assert caught.value.found == "done"
    assert store.replays.get(row["job_id"]) == row
