"""What becomes of a run: several writers, gaps, silence, coming back, and an end from outside."""

import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import psycopg
import pytest
from running import service
from speaking import Client, a_model_call, event
from workbench_server.storage import open_storage
from workbench_server.worker.lake import open_lake
from workbench_server.worker.snapshot import Worker
from workbench_server.worker.sweeping import Deadlines, sweep

from workbench import hashing
from workbench.errors import UsageError


def until(condition, *, seconds=60):
    """Give the first true value of a condition that others bring about."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.05)
    return pytest.fail("it never came about")


def code(answer):
    return answer.status_code, answer.json()["code"]


def state(client, run_id):
    row = client.row(run_id)
    return row["status"], row["health"]


def events_of(writer, *numbers):
    return [event("step_started", n, writer=writer) for n in numbers]


def the_end(number, writer="a", *, status="done", **writers):
    return event("run_ended", number, {"writers": writers}, writer=writer, status=status)


@pytest.fixture
def silence(server):
    """Let time pass for a run, and let the worker's own sweep look, as its own role.

    Both go by half the usual spans: the session's worker, which may run beside it, finds nothing.
    """
    url = server.database.worker_url
    lake = open_lake(url, open_storage(str(server.storage)))
    worker = Worker(url=url, lake=lake)

    usual = Deadlines()
    half = Deadlines(
        lost_after_s=usual.lost_after_s / 2, incomplete_after_s=usual.incomplete_after_s / 2
    )

    def pass_by(run_id, *, seconds):
        with psycopg.connect(server.database.owner_url) as owner:
            owner.execute(
                "update runs set heard_at = heard_at - make_interval(secs => %s) where run_id = %s",
                [seconds / 2, run_id],
            )
        return [r for r in sweep(worker, half) if str(r["run_id"]) == run_id]

    yield pass_by
    lake.catalog.engine.dispose()


# ---- several writers


def test_each_writer_has_numbers_of_its_own_and_seq_is_one_order(client):
    run_id = client.create()
    for n in (1, 2, 3):
        for writer in "abc":
            client.send(run_id, events_of(writer, n))
    found = client.events(run_id)
    assert [e["seq"] for e in found] == list(range(1, 10))
    assert [(e["writer"], e["writer_seq"]) for e in found][:4] == [
        ("a", 1), ("b", 1), ("c", 1), ("a", 2),
    ]  # fmt: skip


def test_many_writers_at_once_leave_a_contiguous_log(client):
    run_id = client.create()

    def write(writer):
        for n in range(1, 21):
            assert client.send(run_id, events_of(writer, n)).status_code == 200

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(write, "abcdef"))
    found = client.events(run_id)
    assert [e["seq"] for e in found] == list(range(1, 121))
    for writer in "abcdef":
        assert [e["writer_seq"] for e in found if e["writer"] == writer] == list(range(1, 21))


def test_an_event_sent_again_is_known_and_changes_nothing(client):
    run_id = client.create()
    first = events_of("a", 1, 2)
    client.send(run_id, first)
    before = client.row(run_id)
    again = client.send(run_id, first)
    assert (again.status_code, again.json()["duplicates"]) == (200, 2)
    assert (again.json()["accepted"], again.json()["first_seq"]) == (0, None)
    assert client.row(run_id)["events"] == before["events"] == 2


def test_a_number_used_for_another_event_is_a_conflict_with_both_digests(client):
    run_id = client.create()
    [stored] = events_of("a", 1)
    client.send(run_id, [stored])
    other = event("step_started", 1, writer="a", name="other")
    problem = client.send(run_id, [other]).json()
    assert (problem["status"], problem["code"]) == (409, "sequence_conflict")
    assert (problem["expected"], problem["found"]) == (stored.digest, other.digest)
    assert (problem["details"]["writer"], problem["details"]["writer_seq"]) == ("a", 1)


def test_a_skipped_number_is_a_gap_and_sending_from_what_was_expected_mends_it(client):
    run_id = client.create()
    client.send(run_id, events_of("a", 1))
    problem = client.send(run_id, events_of("a", 3, 4)).json()
    assert (problem["status"], problem["code"]) == (409, "sequence_gap")
    assert (problem["expected"], problem["found"]) == (2, 3)
    assert client.send(run_id, events_of("a", *range(problem["expected"], 5))).status_code == 200
    assert client.row(run_id)["events"] == 4


def test_of_a_batch_that_is_not_atomic_the_valid_events_are_stored(client):
    run_id = client.create()
    batch = [*events_of("a", 1), *events_of("b", 2), *events_of("a", 2)]
    assert client.send(run_id, batch).status_code == 409
    assert client.row(run_id)["events"] == 0
    receipt = client.send(run_id, batch, atomic=False).json()
    assert (receipt["accepted"], receipt["last_seq"]) == (2, 2)
    [refused] = receipt["rejected"]
    assert (refused["index"], refused["code"], refused["expected"]) == (1, "sequence_gap", 1)


def test_where_nothing_was_stored_a_gap_names_the_first_event_to_send_again(client):
    run_id = client.create()
    client.send(run_id, events_of("a", 1))
    problem = client.send(run_id, [*events_of("b", 1), *events_of("a", 2, 3, 5)]).json()
    assert (problem["code"], problem["where"]) == ("sequence_gap", "events[3]")
    assert (problem["expected"], problem["found"]) == (2, 5)
    assert problem["hint"] == "Nothing of the batch was stored: send again from writer_seq 2."
    assert problem["details"]["writer"] == "a"
    assert client.send(run_id, events_of("a", 2, 3, 4, 5)).json()["accepted"] == 4


# ---- an end that announces more than came


def test_a_writer_that_never_delivers_makes_a_gap_then_it_is_incomplete_then_all_is_well(
    client, silence
):
    run_id = client.create()
    client.send(run_id, events_of("a", 1))
    client.send(run_id, events_of("b", 1))
    client.send(run_id, [the_end(2, a=2, b=3, c=1)])
    assert state(client, run_id) == ("done", "gap")

    assert silence(run_id, seconds=299) == []
    assert state(client, run_id) == ("done", "gap")
    [swept] = silence(run_id, seconds=2)
    assert (swept["status"], swept["health"]) == ("done", "incomplete")
    assert state(client, run_id) == ("done", "incomplete")

    client.send(run_id, events_of("b", 2, 3))
    assert state(client, run_id) == ("done", "gap")
    client.send(run_id, events_of("c", 1))
    assert state(client, run_id) == ("done", "ok")
    assert silence(run_id, seconds=9999) == []
    assert state(client, run_id) == ("done", "ok")


def test_up_to_what_was_announced_events_come_late_and_beyond_it_they_are_refused(client):
    run_id = client.create()
    client.send(run_id, [*events_of("a", 1), the_end(2, a=2, b=2)])
    assert client.send(run_id, events_of("b", 1, 2)).status_code == 200
    problem = client.send(run_id, events_of("b", 3)).json()
    assert (problem["status"], problem["code"]) == (409, "run_closed")
    assert (problem["expected"], problem["found"]) == ("at most 2", 3)
    assert code(client.send(run_id, events_of("z", 1))) == (409, "run_closed")
    assert code(client.send(run_id, [the_end(3)])) == (409, "run_closed")
    assert state(client, run_id) == ("done", "ok")


@pytest.mark.parametrize("announced", [{"b": 2**63}, {"": 1}])
def test_an_end_that_announces_what_nobody_can_deliver_says_so(client, announced):
    run_id = client.create()
    problem = client.send(run_id, [*events_of("a", 1), the_end(2, **announced)]).json()
    assert (problem["status"], problem["code"]) == (422, "invalid_event")
    assert problem["title"] == "run_ended announces what no writer can deliver"
    assert problem["where"] == "events[1].payload.writers"
    assert problem["expected"] == f"a writer's name, and at most {2**63 - 1}"
    assert client.row(run_id)["events"] == 0


def test_an_incomplete_run_goes_into_the_lake_as_such(client, worker, silence):
    run_id = client.create()
    client.send(run_id, [the_end(1, a=1, b=1)])
    until(lambda: client.http.get("/snapshots").json()["pending"] == 0)
    silence(run_id, seconds=301)
    assert client.http.get("/snapshots").json()["pending"] in (0, 1)
    until(lambda: client.http.get("/snapshots").json()["pending"] == 0)
    assert state(client, run_id) == ("done", "incomplete")


# ---- silence


def test_a_silent_run_is_lost_and_comes_back_with_an_event(client, silence):
    run_id = client.create()
    client.send(run_id, events_of("a", 1))
    assert silence(run_id, seconds=59) == []
    [swept] = silence(run_id, seconds=2)
    assert (swept["status"], state(client, run_id)) == ("lost", ("lost", "ok"))
    assert client.send(run_id, events_of("a", 2)).status_code == 200
    assert state(client, run_id) == ("running", "ok")
    silence(run_id, seconds=61)
    client.send(run_id, [the_end(3)])
    assert state(client, run_id) == ("done", "ok")


def test_a_lost_run_comes_back_with_a_batch_that_is_looked_at_closely(client, silence):
    run_id = client.create()
    client.send(run_id, events_of("a", 1))
    silence(run_id, seconds=61)
    client.send(run_id, [*events_of("b", 1), *events_of("a", 1, 2)])
    assert state(client, run_id) == ("running", "ok")


def test_a_lost_run_comes_back_with_a_writer_that_was_never_answered(client, silence):
    run_id = client.create()
    client.send(run_id, events_of("a", 1))
    silence(run_id, seconds=61)
    assert client.send(run_id, events_of("a", 3)).status_code == 409
    assert state(client, run_id) == ("lost", "ok")
    assert client.send(run_id, events_of("a", 1)).json()["duplicates"] == 1
    assert state(client, run_id) == ("running", "ok")
    client.send(run_id, [the_end(2)])
    assert client.send(run_id, [the_end(2)]).json()["duplicates"] == 1
    assert state(client, run_id) == ("done", "ok")


def test_a_heartbeat_keeps_a_run_alive_and_brings_it_back(client, silence):
    run_id = client.create()
    beat = client.http.post(f"/runs/{run_id}/heartbeat")
    assert beat.json() == {
        "run_id": run_id, "status": "running", "health": "ok", "closed": False, "cancelled": False,
    }  # fmt: skip
    before = client.row(run_id)["heard_at"]
    silence(run_id, seconds=61)
    assert state(client, run_id) == ("lost", "ok")
    assert client.http.post(f"/runs/{run_id}/heartbeat").json()["status"] == "running"
    assert state(client, run_id) == ("running", "ok")
    assert client.row(run_id)["heard_at"] > before
    assert silence(run_id, seconds=59) == []


def test_a_run_that_waits_or_has_ended_is_never_lost(client, silence):
    waiting, ended = client.create(), client.create()
    client.send(waiting, [event("interrupted", 1, {})])
    client.send(ended, [the_end(1)])
    for run_id in (waiting, ended):
        assert silence(run_id, seconds=10_000) == []
    assert state(client, waiting) == ("waiting", "ok")
    assert state(client, ended) == ("done", "ok")


def test_a_heartbeat_of_an_ended_run_changes_nothing(client):
    run_id = client.create()
    client.send(run_id, [the_end(1, status="cancelled")])
    before = client.row(run_id)
    beat = client.http.post(f"/runs/{run_id}/heartbeat").json()
    assert (beat["status"], beat["closed"], beat["cancelled"]) == ("cancelled", True, True)
    assert client.row(run_id) == before


def test_the_sweep_sees_every_workspace_and_leaves_alone_what_is_being_written(
    client, other, silence, server
):
    mine, theirs = client.create(), other.create()
    silence(mine, seconds=61)
    silence(theirs, seconds=61)
    assert (client.row(mine)["status"], other.row(theirs)["status"]) == ("lost", "lost")
    held = client.create()
    with psycopg.connect(server.database.owner_url) as owner:
        owner.execute(
            "update runs set heard_at = now() - interval '45 s' where run_id = %s", [held]
        )
        owner.commit()
        owner.execute("select from runs where run_id = %s for update", [held])
        assert silence(mine, seconds=0) == []
        owner.rollback()
    assert silence(held, seconds=0) != []


def test_search_and_sweep_work_where_the_owner_is_no_superuser_either(own_server):
    """A managed database's owner is bound by the walls as everybody else."""
    client = Client(own_server.url, own_server.api_key)
    client.create(name="alone here")
    other = Client(own_server.url, own_server.make_workspace("other").api_key)
    theirs = other.create(name="alone there")
    with psycopg.connect(own_server.database.owner_url, autocommit=True) as owner:
        role = f"plain_{uuid4().hex[:8]}"
        owner.execute(f"create role {role}")
        owner.execute(f"grant select, update on all tables in schema public to {role}")
        owner.execute(f"grant create on schema public to {role}")
        for function in (
            "runs_saying(text)", "said_often(text, integer)",
            "sweep_runs(double precision, double precision)",
        ):  # fmt: skip
            owner.execute(f"alter function {function} owner to {role}")
        owner.execute("update runs set heard_at = now() - interval '1 h'")
        with psycopg.connect(own_server.database.worker_url, autocommit=True) as worker:
            swept = worker.execute("select * from sweep_runs(60, 300)").fetchall()
        assert {(str(run_id), status) for _, run_id, status, _ in swept} >= {(theirs, "lost")}
        assert len(swept) == 2
        for each, name in ((client, "alone here"), (other, "alone there")):
            found = each.http.get("/runs", params={"q": "alone"}).json()["runs"]
            assert [(row["name"], row["status"]) for row in found] == [(name, "lost")]
        owner.execute(f"drop owned by {role} cascade")
        owner.execute(f"drop role {role}")
    client.http.close()
    other.http.close()


def test_the_app_role_cannot_sweep(server):
    with (
        psycopg.connect(server.database.app_url) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute("select * from sweep_runs(1, 1)")


def test_the_log_names_a_swept_run_and_its_workspace_as_fields(server, client, silence, caplog):
    run_id = client.create()
    with caplog.at_level("INFO", logger="workbench.worker"):
        assert silence(run_id, seconds=61)
    [said] = [x.facts for x in caplog.records if getattr(x, "facts", {}).get("run_id") == run_id]
    workspace = str(server.workspace.workspace_id)
    assert said == {"run_id": run_id, "workspace": workspace, "status": "lost", "health": "ok"}


def test_the_worker_sweeps_by_itself_with_the_spans_of_its_environment(own_server):
    client = Client(own_server.url, own_server.api_key)
    silent, gap = client.create(), client.create()
    client.send(gap, [the_end(1, a=1, b=1)])
    spans = {"WORKBENCH_LOST_AFTER_S": "1", "WORKBENCH_INCOMPLETE_AFTER_S": "1"}
    with service("worker", environment=own_server.environment | spans):
        until(lambda: client.row(silent)["status"] == "lost")
        until(lambda: client.row(gap)["health"] == "incomplete")
    client.http.close()


@pytest.mark.parametrize("text", ["0", "-1", "soon", "nan", "1e99"])
def test_a_span_that_is_none_is_refused(monkeypatch, text):
    monkeypatch.setenv("WORKBENCH_LOST_AFTER_S", text)
    with pytest.raises(UsageError, match="WORKBENCH_LOST_AFTER_S is no span of time"):
        Deadlines.from_environment()


# ---- an end from outside


@pytest.mark.parametrize("status", ["done", "failed", "cancelled", "diverged"])
def test_a_run_is_ended_by_the_server_as_an_event_of_its_log(client, status):
    run_id = client.create()
    client.send(run_id, [event("run_started", 1, {}, writer="a"), *a_model_call(1)])
    answer = client.http.post(
        f"/runs/{run_id}/end", json={"status": status, "reason": "enough", "output": {"x": [1]}}
    )
    row = answer.json()
    assert (answer.status_code, row["status"], row["health"]) == (200, status, "ok")
    assert row["ended_at"] is not None
    assert row["duration_ms"] > 0
    last = client.events(run_id)[-1]
    assert (last["seq"], last["event_type"], last["writer"]) == (4, "run_ended", "server")
    assert last["payload"] == {
        "writers": {"a": 1, "w": 2, "server": 1},
        "output": {"x": [1]},
        "exception": {
            "class": "workbench.errors:RunClosed", "message": "enough", "args": [],
        },
    }  # fmt: skip


def test_an_end_is_sealed_like_any_event(client, store):
    run_id = client.create()
    client.send(run_id, events_of("a", 1))
    client.http.post(f"/runs/{run_id}/cancel")
    run = store.run(run_id)
    for one in run.event_log():
        bare = hashing.sealed(replace_server_fields(one))
        assert bare.digest == one.digest
    assert client.http.get(f"/runs/{run_id}/manifest").json()["hashes"]["log_root"] == run.digest


def replace_server_fields(one):
    import msgspec

    return msgspec.structs.replace(one, seq=None, received_at=None, digest=None)


def test_nothing_said_ends_a_run_as_done(client):
    run_id = client.create()
    assert client.http.post(f"/runs/{run_id}/end").json()["status"] == "done"
    assert client.events(run_id)[0]["payload"] == {"writers": {"server": 1}}


def test_ending_again_is_nothing_new_and_ending_otherwise_is_a_conflict(client):
    run_id = client.create()
    first = client.http.post(f"/runs/{run_id}/cancel", json={"reason": "a"}).json()
    again = client.http.post(f"/runs/{run_id}/cancel", json={"reason": "b"})
    assert (again.status_code, again.json()) == (200, first)
    assert client.http.post(f"/runs/{run_id}/end", json={"status": "cancelled"}).json() == first
    problem = client.http.post(f"/runs/{run_id}/end", json={"status": "done"}).json()
    assert (problem["status"], problem["code"]) == (409, "conflict")
    assert (problem["expected"], problem["found"]) == ("done", "cancelled")
    assert client.row(run_id) == first


def test_a_run_that_its_writer_ended_is_not_ended_again(client):
    run_id = client.create()
    client.send(run_id, [the_end(1)])
    before = client.row(run_id)
    assert client.http.post(f"/runs/{run_id}/end").json() == before
    assert code(client.http.post(f"/runs/{run_id}/cancel")) == (409, "conflict")
    assert client.row(run_id) == before


def test_lost_and_waiting_runs_can_be_cancelled(client, silence):
    lost, waiting = client.create(), client.create()
    silence(lost, seconds=61)
    client.send(waiting, [event("interrupted", 1, {})])
    for run_id in (lost, waiting):
        assert client.http.post(f"/runs/{run_id}/cancel").json()["status"] == "cancelled"


def test_what_comes_after_a_cancel_is_refused_and_what_was_sent_before_is_known(client):
    run_id = client.create()
    client.send(run_id, events_of("a", 1))
    client.http.post(f"/runs/{run_id}/cancel")
    assert client.send(run_id, events_of("a", 1)).json()["duplicates"] == 1
    for late in (events_of("a", 2), events_of("new", 1), [the_end(2)]):
        assert code(client.send(run_id, late)) == (409, "run_closed")
    assert state(client, run_id) == ("cancelled", "ok")


def test_a_run_with_busy_writers_is_cancelled_all_the_same(client):
    run_id, given_up = client.create(), threading.Event()
    writers = [f"w{i}" for i in range(6)]

    def write(writer):
        for n in itertools.count(1):
            answer = client.send(run_id, events_of(writer, n))
            if answer.status_code != 200 or given_up.is_set():
                return n, (answer.status_code, answer.json().get("code"))
        return None

    with ThreadPoolExecutor(7) as pool:
        writing = [pool.submit(write, writer) for writer in writers]
        until(lambda: client.row(run_id)["events"] > 30)
        answer = client.http.post(f"/runs/{run_id}/cancel")
        if answer.status_code != 200:
            given_up.set()
        ends = [future.result() for future in writing]
    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
    assert {why for _, why in ends} == {(409, "run_closed")}
    found = client.events(run_id)
    assert [e["seq"] for e in found] == list(range(1, len(found) + 1))
    assert len(found) == sum(n - 1 for n, _ in ends) + 1
    assert found[-1]["event_type"] == "run_ended"


def test_a_run_ended_by_many_at_once_ends_once(client):
    run_id = client.create()
    asks = [{"status": "done"}, {"status": "cancelled"}] * 6
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda a: client.http.post(f"/runs/{run_id}/end", json=a), asks))
    assert [e["event_type"] for e in client.events(run_id)] == ["run_ended"]
    won = client.row(run_id)["status"]
    for ask, answer in zip(asks, answers, strict=True):
        assert answer.status_code == (200 if ask["status"] == won else 409)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("end", {"status": "running"}),
        ("end", {"status": "lost"}),
        ("end", {"what": 1}),
        ("end", {"reason": "a\0b"}),
        ("end", {"reason": "x" * 20_000}),
        ("end", []),
        ("cancel", {"status": "done"}),
        ("cancel", {"reason": 7}),
    ],
)
def test_an_end_that_makes_no_sense_is_refused_and_nothing_is_stored(client, path, body):
    run_id = client.create()
    answer = client.http.post(f"/runs/{run_id}/{path}", json=body)
    assert answer.status_code in (413, 422)
    assert state(client, run_id) == ("running", "ok")
    assert client.events(run_id) == []


@pytest.mark.parametrize("content", [b"{", b"\xff", b'{"output": 1e999}', b"[" * 5000])
def test_a_body_that_is_no_json_is_refused(client, content):
    run_id = client.create()
    assert client.http.post(f"/runs/{run_id}/end", content=content).status_code in (413, 422)
    assert client.events(run_id) == []


@pytest.mark.parametrize("path", ["end", "cancel", "heartbeat"])
def test_unknown_runs_and_readers_are_refused(client, other, server, path):
    run_id = client.create()
    assert code(client.http.post(f"/runs/{uuid4()}/{path}")) == (404, "run_not_found")
    assert code(client.http.post(f"/runs/x/{path}")) == (404, "run_not_found")
    assert code(other.http.post(f"/runs/{run_id}/{path}")) == (404, "run_not_found")
    reader = Client(server.url, server.make_workspace(server.workspace.name, role="reader").api_key)
    assert code(reader.http.post(f"/runs/{run_id}/{path}")) == (403, "forbidden")
    reader.http.close()
    assert state(client, run_id) == ("running", "ok")
