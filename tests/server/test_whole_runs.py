"""A new run that comes whole is one row, written once, and the same as one that came in parts."""

import json
from datetime import timedelta
from uuid import uuid4

import psycopg
import pytest
from speaking import START, Client, a_message, a_model_call, a_whole_run, event, wire

HEADER = {
    "name": "n",
    "agent": "a",
    "source": "test:full",
    "session": "s",
    "labels": {"n": 1, "b": True},
    "mode": "exact",
    "parent_run_id": str(uuid4()),
    "forked_at": 3,
    "edits_hash": "0" * 64,
}
LOCAL = {"labels": {"cost_local": "true"}}
MINE = {"workspace_id", "created_at", "heard_at", "changed_at"}
NEWER = str(uuid4())


def begun(**fields):
    return event("run_started", 1, {"input": "x"}, **fields)


def calls(**fields):
    """A call that is known to cost nothing, one whose cost nobody knows, and a tool's that failed."""
    tool = {"step_id": "t", "kind": "tool", "name": "t", "lane": "root", "ordinal": 6}
    return [
        begun(),
        *a_model_call(2, input_tokens=7, output_tokens=1, cost_usd=0.0),
        *a_model_call(4, input_tokens=7, output_tokens=1),
        event("call_started", 6, {"request": {}}, status="running", **tool),
        event("call_ended", 7, {"error": {"type": "E", "message": "m"}}, status="error", **tool),
    ]


def ended(number, status, **fields):
    return event("run_ended", number, {"output": "x", "writers": {}}, status=status, **fields)


RUNS = {
    "open": ({}, calls()),
    "ended": (HEADER, a_whole_run()[0]),
    "failed": ({}, [*calls(), ended(8, "failed", duration_ms=1.5)]),
    "ended before it began": ({}, [begun(), ended(2, "done", started_at=START - timedelta(1))]),
    "ended and never begun": ({}, [ended(1, "cancelled")]),
    "waiting": ({}, [begun(), event("interrupted", 2, {"value": 1})]),
    "local": (LOCAL, calls()),
    "local by another word": ({"labels": {"cost_local": True}}, calls()),
    "not local": ({"labels": {"cost_local": "no"}}, calls()),
    "superseded before it came": ({}, [begun()]),
    "without events": ({"name": "empty"}, []),
}


def entry_of(header, events):
    return {"header": header, "events": [json.loads(wire(one)) for one in events]}


def send(client, runs, bodies):
    request = {"runs": [entry_of(*one) for one in runs], "bodies": bodies}
    answer = client.http.post("/batches", json=request)
    assert answer.status_code == 200, answer.text
    return answer.json()["runs"]


def rows_of(server, workspace_id):
    with psycopg.connect(server.database.owner_url) as owner:
        rows = owner.execute(
            "select run_id::text, to_jsonb(r) from runs r where workspace_id = %s", [workspace_id]
        ).fetchall()
    return dict(rows)


@pytest.fixture
def one_way_and_the_other(own_server):
    """Two workspaces of a server beside which no worker changes a row."""
    other = own_server.make_workspace("other")
    clients = [Client(own_server.url, key) for key in (own_server.api_key, other.api_key)]
    yield [*zip((own_server.workspace.workspace_id, other.workspace_id), clients, strict=True)]
    for client in clients:
        client.http.close()


def test_a_run_that_comes_whole_has_the_row_of_one_that_came_in_parts(
    own_server, one_way_and_the_other
):
    bodies = a_whole_run()[1]
    runs = {kind: (header | {"run_id": str(uuid4())}, log) for kind, (header, log) in RUNS.items()}
    superseded = runs["superseded before it came"][0]["run_id"]
    (whole, several), (parts, each) = one_way_and_the_other
    for client in (several, each):
        client.create(run_id=NEWER, supersedes=superseded)
    accepted = [one.get("accepted") for one in send(several, runs.values(), bodies)]
    assert accepted == [len(log) for _, log in runs.values()]
    for header, log in runs.values():
        each.create(**header)
        if log:
            answer = each.send(header["run_id"], log, bodies)
            assert answer.json()["accepted"] == len(log), answer.text
    found, expected = rows_of(own_server, whole), rows_of(own_server, parts)
    assert found.keys() == expected.keys()
    for kind, (header, _) in runs.items():
        one, other = found[header["run_id"]], expected[header["run_id"]]
        assert {k: one[k] for k in one.keys() - MINE} == {k: other[k] for k in one.keys() - MINE}, (
            kind
        )
        assert one["created_at"] == one["heard_at"] == one["changed_at"]
    by_kind = {kind: found[header["run_id"]] for kind, (header, _) in runs.items()}
    assert by_kind["superseded before it came"]["superseded_by"] == NEWER
    assert {by_kind[kind]["unknown_cost_parts"] for kind in ("local", "open")} == {1, 2}
    assert {row["status"] for row in found.values()} == {
        "running", "done", "failed", "cancelled", "waiting",
    }  # fmt: skip


def places_of(server):
    """Where the rows of all runs lie in the table."""
    with psycopg.connect(server.database.owner_url) as owner:
        return [place for (place,) in owner.execute("select ctid::text from runs order by ctid")]


def test_a_run_that_comes_whole_is_written_once(own_server):
    events, bodies = a_whole_run()
    with Client(own_server.url, own_server.api_key).http as http:
        entries = [entry_of({"run_id": str(uuid4())}, events) for _ in range(4)]
        answer = http.post("/batches", json={"runs": entries, "bodies": bodies})
    assert {one["accepted"] for one in answer.json()["runs"]} == {len(events)}
    # The first four places of a new table: no row was there before these.
    assert places_of(own_server) == [f"(0,{n})" for n in range(1, 5)]


def test_what_is_left_out_leaves_nothing_behind(own_server):
    """A run that needs a body nobody sent, and one that exists: neither of them is half there."""
    events, bodies = a_whole_run()
    never_sent, _ = a_message("never sent")
    with Client(own_server.url, own_server.api_key).http as http:
        known = http.post("/runs", json={"run_id": str(uuid4()), "name": "before"}).json()["run_id"]
        lacking = [begun(), *a_model_call(2, messages=[never_sent])]
        headers = [{"run_id": str(uuid4())}, {"run_id": known}, {"run_id": str(uuid4())}]
        entries = [entry_of(h, e) for h, e in zip(headers, [lacking, events, events], strict=True)]
        request = {"runs": entries, "bodies": bodies}
        said = http.post("/batches", json=request).json()["runs"]
    assert [one.get("error", {}).get("code") for one in said] == [
        "missing_bodies",
        "conflict",
        None,
    ]
    with psycopg.connect(own_server.database.owner_url) as owner:
        for table in ("events", "writers", "run_usage"):
            rows = owner.execute(f"select distinct run_id::text from {table}").fetchall()
            assert rows == [(headers[2]["run_id"],)], table
        rows = owner.execute("select run_id::text, events from runs where run_id <> %s", [known])
        assert rows.fetchall() == [(headers[2]["run_id"], len(events))]
