"""Sessions: runs that share a name of one, with what they come to."""

from statistics import mean
from urllib.parse import quote
from uuid import uuid4

import psycopg
import pytest
from speaking import START, a_message, a_model_call, event
from test_lifecycle import until


def a_run(client, session, *, cost=0.5, ms=100.0, status="done", tool_error=False, **header):
    run_id = client.create(session=session, **header)
    call = a_model_call(2, input_tokens=7, output_tokens=3, cost_usd=cost)
    tool = [
        event("call_started", 4, {"request": {}}, step_id="t", kind="tool", name="t", lane="root"),
        event(
            "call_ended", 5, {"outcome": {"value": 1}}, step_id="t", kind="tool", name="t",
            lane="root", status="error" if tool_error else "ok",
        ),
    ]  # fmt: skip
    ended = event("run_ended", 6, {"writers": {"w": 6}}, status=status, duration_ms=ms)
    answer = client.send(run_id, [event("run_started", 1, {}), *call, *tool, ended])
    assert answer.status_code == 200, answer.text
    return run_id


def session(client, name):
    answer = client.http.get(f"/sessions/{quote(name, safe='')}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_session_is_the_sum_of_its_runs(client):
    for i, ms in enumerate((100.0, 200.0, 300.0, 1000.0)):
        a_run(client, "s", ms=ms, tool_error=i == 0, labels={"confidence": i / 4})
    a_run(client, "s", status="failed", ms=400.0, labels={"confidence": "high"})
    client.create(session="s")
    a_run(client, "other")
    found = session(client, "s")
    counts = {name: found[name] for name in ("runs", "running", "done", "failed", "lost")}
    assert counts == {"runs": 6, "running": 1, "done": 4, "failed": 1, "lost": 0}
    assert (found["model_calls"], found["tool_calls"]) == (5, 5)
    assert (found["tool_errors"], found["errors"]) == (1, 1)
    assert (found["input_tokens"], found["output_tokens"]) == (35, 15)
    assert (found["cost_usd"], found["cost_known_usd"]) == (2.5, 2.5)
    assert (found["unknown_cost_parts"], found["unknown_cost_runs"]) == (0, 0)
    assert found["duration_ms"] == 2000.0
    assert found["duration_mean_ms"] == mean([100, 200, 300, 1000, 400])
    assert (found["duration_p50_ms"], found["duration_runs"]) == (300.0, 5)
    assert found["duration_p95_ms"] == pytest.approx(880.0)
    assert (found["confidence_mean"], found["confidence_runs"]) == (0.375, 4)
    assert found["first_at"] == "2026-01-01T00:00:01Z"
    assert found["last_at"] > "2026-01-01T00:00:06Z"


def test_one_unknown_cost_makes_the_session_s_cost_unknown(client):
    a_run(client, "s", cost=0.5)
    a_run(client, "s", cost=None)
    found = session(client, "s")
    assert (found["cost_usd"], found["cost_known_usd"]) == (None, 0.5)
    assert (found["unknown_cost_parts"], found["unknown_cost_runs"]) == (1, 1)


def test_what_nobody_said_is_null_and_not_nought(client):
    client.create(session="s", labels={"confidence": True})
    found = session(client, "s")
    names = ("messages", "duration_ms", "duration_mean_ms", "duration_p95_ms", "confidence_mean")
    assert [found[name] for name in names] == [None] * 5
    assert (found["messages_runs"], found["duration_runs"], found["confidence_runs"]) == (0, 0, 0)


def test_messages_are_counted_once_the_worker_has_read_them(client, worker):
    answered = a_message("yes", "assistant")
    run_id = client.create(session="s")
    call = a_model_call(1, outcome=answered[0])
    ended = event("run_ended", 3, {"writers": {"w": 3}}, status="done")
    client.send(run_id, [*call, ended], dict([answered]))
    client.create(session="s")
    until(lambda: session(client, "s")["messages_runs"] == 1)
    assert session(client, "s")["messages"] == 1


def test_a_superseded_run_is_not_counted_twice(client):
    old = a_run(client, "s", source="test:x")
    a_run(client, "s", source="test:x", supersedes=old, cost=2.0)
    found = session(client, "s")
    assert (found["runs"], found["cost_usd"]) == (1, 2.0)


@pytest.mark.parametrize(
    "name", ["a/b//c", "/", "ü 東京 ?#&%", "a b+c", "..", "%2F", "x" * 1900, "'; drop table runs"]
)
def test_a_session_may_have_any_name(client, name):
    client.create(session=name)
    listed = client.http.get("/sessions", params={"session": name}).json()["sessions"]
    assert [row["session"] for row in listed] == [name]
    if name != "..":  # clients resolve it away before it is sent; the query finds it
        assert session(client, name)["runs"] == 1


def test_an_unknown_session_is_told_with_the_nearest(client):
    client.create(session="nightly-2026")
    answer = client.http.get("/sessions/nightly-2025")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert answer.json()["details"]["nearest"] == ["nightly-2026"]


def test_sessions_are_sorted_and_paged_and_runs_without_one_are_left_out(client):
    client.create()
    for i in range(5):
        for _ in range(i + 1):
            a_run(client, f"s{i}", cost=None if i == 3 else float(10 - i))
    for sort, expected in {
        None: "s4 s3 s2 s1 s0",
        "last_at:asc": "s0 s1 s2 s3 s4",
        "session": "s0 s1 s2 s3 s4",
        "session:desc": "s4 s3 s2 s1 s0",
        "runs": "s4 s3 s2 s1 s0",
        "tokens:asc": "s0 s1 s2 s3 s4",
        "duration_ms": "s4 s3 s2 s1 s0",
        "cost": "s4 s2 s1 s0 s3",
        "cost:asc": "s0 s1 s2 s4 s3",
    }.items():
        names, cursor = [], None
        while True:
            query = {"limit": 2, "sort": sort, "cursor": cursor}
            answer = client.http.get("/sessions", params={k: v for k, v in query.items() if v})
            names += [row["session"] for row in answer.json()["sessions"]]
            cursor = answer.json()["next_cursor"]
            if cursor is None:
                break
        if sort is None or "last_at" in sort:  # all ended at the same moment: the name decides
            assert names == sorted(expected.split(), reverse=sort is None)
        else:
            assert names == expected.split()


def test_what_makes_no_sense_is_refused(client):
    client.create(session="a")
    client.create(session="b")
    cursor = client.http.get("/sessions", params={"limit": 1}).json()["next_cursor"]
    for query in (
        {"sort": "colour"}, {"limit": 0}, {"session": "a\0"}, {"cursor": "x"},
        {"cursor": cursor, "sort": "runs"}, {"session": "a", "cursor": cursor},
    ):  # fmt: skip
        answer = client.http.get("/sessions", params=query)
        assert (answer.status_code, answer.json()["code"]) == (422, "usage_error")
    runs_cursor = client.http.get("/runs", params={"limit": 1}).json()["next_cursor"]
    answer = client.http.get("/sessions", params={"cursor": runs_cursor})
    assert answer.json()["title"] == "the cursor belongs to another query"


def test_sessions_of_others_are_not_seen(client, other):
    client.create(session="mine")
    assert other.http.get("/sessions").json() == {"sessions": [], "next_cursor": None}
    assert other.http.get("/sessions/mine").status_code == 404


def test_a_session_with_more_tokens_than_a_bigint_holds_is_still_answered(client):
    most = 2**63 - 1
    for _ in range(2):
        run_id = client.create(session="s")
        client.send(run_id, a_model_call(1, input_tokens=most, output_tokens=most))
    assert session(client, "s")["input_tokens"] == most
    for query in ({"sort": "tokens", "limit": 1}, {"min_tokens": most}, {"max_tokens": most}):
        assert client.http.get("/runs", params=query).status_code == 200
    first = client.http.get("/runs", params={"sort": "tokens", "limit": 1}).json()
    again = {"sort": "tokens", "cursor": first["next_cursor"]}
    assert len(client.http.get("/runs", params=again).json()["runs"]) == 1


def test_a_session_goes_by_its_index(postgres):
    import json

    from running import _database
    from workbench_server.queries import queries

    workspace = uuid4()
    with _database(postgres) as made, psycopg.connect(made.owner_url, autocommit=True) as owner:
        owner.execute("select set_config('workbench.workspace', %s, false)", [str(workspace)])
        owner.execute(
            "insert into runs (workspace_id, run_id, header_hash, session, started_at)"
            " select %s, gen_random_uuid(), '\\x00', 's' || i %% 200, %s"
            " from generate_series(1, 5000) i",
            [workspace, START],
        )
        owner.execute("analyze")
        sql = queries("sessions")
        with psycopg.connect(made.app_url) as connection:
            connection.execute(
                "select set_config('workbench.workspace', %s, true)", [str(workspace)]
            )
            known = {"workspace_id": workspace, "session": "s7", "sessions": ["s7", "s8"]}
            pick = sql["pick"].replace(b"{key}", sql["key_last_at"]) + b"\n" + sql["session"]
            for asked in (pick, sql["rows"]):
                rows = connection.execute(b"explain (format json) " + asked, known).fetchone()
                plan = json.dumps(rows[0])
                assert '"Index Name": "runs_sessions"' in plan
                assert "Seq Scan" not in plan
