"""Usage by day equals what was acknowledged, summed up by another way."""

import json
import threading
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from uuid import uuid4

import psycopg
import pytest
from speaking import Client, a_message, a_model_call, a_whole_run, event, wire


def usage(client, **days):
    answer = client.http.get("/usage", params={k: str(v) for k, v in days.items()})
    assert answer.status_code == 200, answer.text
    return answer.json()


def summed(sent):
    """What a workspace took, from what was sent and acknowledged."""
    total = defaultdict(int)
    for events, bodies in sent:
        total["events"] += len(events)
        total["bytes"] += sum(len(wire(one)) for one in events)
        total["bytes"] += sum(len(json.dumps(body)) for body in bodies.values())
        for one in events:
            total["input_tokens"] += one.input_tokens or 0
            total["output_tokens"] += one.output_tokens or 0
            total["cost_known_usd"] += one.cost_usd or 0
    return total


def test_usage_is_the_sum_of_what_was_acknowledged(client):
    sent = [a_whole_run() for _ in range(3)]
    for events, bodies in sent:
        run_id = client.create()
        assert client.send(run_id, events, bodies).status_code == 200
        assert client.send(run_id, events, bodies).json()["duplicates"] == len(events)
    refused = client.send(client.create(), [event("run_started", 2)])
    assert refused.status_code == 409
    said = usage(client)
    (day,) = said["days"]
    expected = summed(sent)
    assert day["day"] == str(datetime.now(UTC).date())
    assert said["total"]["runs"] == day["runs"] == 3
    for name in ("events", "input_tokens", "output_tokens", "cost_known_usd"):
        assert said["total"][name] == day[name] == expected[name], name


def test_bytes_are_those_of_the_stored_events_and_of_new_bodies(client):
    """Bodies that the run had already cost nothing again."""
    asked, body = a_message("x" * 1000)
    run_id = client.create()
    first = [event("run_started", 1, {"input": "y" * 500}), *a_model_call(2, messages=[asked])]
    assert client.send(run_id, first, {asked: body}).status_code == 200
    took = usage(client)["total"]["bytes"]
    assert 1500 < took < 4000
    again = [event("step_started", 4, {}, step_id="s")]
    assert client.send(run_id, again, {}).status_code == 200
    more = usage(client)["total"]["bytes"] - took
    assert 0 < more < 600


def test_usage_of_many_clients_at_once_is_exact(server, client):
    events, bodies = a_whole_run()

    def send():
        each = Client(server.url, server.api_key)
        for _ in range(10):
            assert each.send(each.create(), events, bodies).status_code == 200
        each.http.close()

    threads = [threading.Thread(target=send) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    total = usage(client)["total"]
    assert (total["runs"], total["events"], total["input_tokens"]) == (40, 160, 280)
    assert total["cost_known_usd"] == 20.0


def test_an_unknown_cost_is_counted_and_never_guessed(client):
    known, bodies = a_whole_run()
    client.send(client.create(), known, bodies)
    unknown = [event("run_started", 1), *a_model_call(2, input_tokens=5, output_tokens=5)]
    client.send(client.create(), unknown)
    total = usage(client)["total"]
    assert (total["cost_known_usd"], total["unknown_cost_runs"], total["runs"]) == (0.5, 1, 2)


def moved_back(server, days):
    """Let what is stored so far have come some days earlier."""
    workspace = [server.workspace.workspace_id]
    with psycopg.connect(server.database.owner_url) as owner:
        for statement in (
            "update run_usage set day = day - %s where workspace_id = %s",
            "update events set received_at = received_at - 24 * %s * interval '1 h' where workspace_id = %s",
            "update artifacts set created_at = created_at - 24 * %s * interval '1 h' where workspace_id = %s",
        ):
            owner.execute(statement, [days, *workspace])


def test_a_run_that_goes_on_past_midnight_stands_in_both_days(server, client):
    run_id = client.create()
    events, bodies = a_whole_run()
    client.send(run_id, events[:2], bodies)
    client.http.put(
        f"/artifacts/{'2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae'}",
        content=b"foo",
    )
    moved_back(server, 1)
    client.send(run_id, events[2:])
    said = usage(client)
    today = datetime.now(UTC).date()
    assert [day["day"] for day in said["days"]] == [str(today - timedelta(days=1)), str(today)]
    assert [day["events"] for day in said["days"]] == [2, 2]
    assert [day["runs"] for day in said["days"]] == [1, 1]
    assert [day["artifact_bytes"] for day in said["days"]] == [3, 0]
    assert (said["total"]["runs"], said["total"]["events"]) == (1, 4)
    with psycopg.connect(server.database.owner_url) as owner:
        rows = owner.execute(
            "select (received_at at time zone 'UTC')::date::text, count(*) from events"
            " where workspace_id = %s group by 1 order by 1",
            [server.workspace.workspace_id],
        ).fetchall()
    assert rows == [(day["day"], day["events"]) for day in said["days"]]


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Etc/GMT+12"])
def test_a_day_is_one_of_utc_whatever_the_database_s_zone(own_server, zone):
    """One of these zones has another date than UTC at any time."""
    with psycopg.connect(own_server.database.owner_url, autocommit=True) as owner:
        owner.execute(f"alter database {own_server.database.name} set timezone = '{zone}'")
        owner.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid()"
        )
    client = Client(own_server.url, own_server.api_key)
    try:
        run_id, (events, bodies) = str(uuid4()), a_whole_run()
        while client.http.post("/runs", json={"run_id": run_id}).status_code >= 500:
            pass
        while client.send(run_id, events, bodies).status_code >= 500:
            pass
        sha256 = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
        client.http.put(f"/artifacts/{sha256}", content=b"foo")
        (day,) = usage(client)["days"]
        assert (day["day"], day["events"]) == (str(datetime.now(UTC).date()), 4)
        assert day["artifact_bytes"] == 3
    finally:
        client.http.close()


def test_both_ends_of_the_days_are_included(server, client):
    events, bodies = a_whole_run()
    for _ in range(3):
        client.send(client.create(), events, bodies)
        moved_back(server, 1)
    today = datetime.now(UTC).date()
    days = [today - timedelta(days=n) for n in (3, 2, 1)]
    assert [day["day"] for day in usage(client)["days"]] == list(map(str, days))
    two = usage(client, **{"from": days[1], "to": days[2]})
    assert [day["day"] for day in two["days"]] == list(map(str, days[1:]))
    assert two["total"]["events"] == 8
    assert usage(client, **{"from": today, "to": today})["days"] == []


@pytest.mark.parametrize(
    "days",
    [
        {"from": "x"},
        {"from": "2026-02-30"},
        {"from": "2026-02-02", "to": "2026-02-01"},
        {"from": "0001-01-01"},
        {"to": "99999-01-01"},
    ],
)
def test_days_that_make_no_sense_are_refused(client, days):
    answer = client.http.get("/usage", params=days)
    assert (answer.status_code, answer.json()["code"]) == (422, "usage_error")


def test_the_first_of_all_days_is_answered(client):
    assert usage(client, to=date.min)["from"] == "0001-01-01"


def test_a_workspace_sees_its_own_usage_alone(client, other):
    events, bodies = a_whole_run()
    other.send(other.create(), events, bodies)
    assert usage(client)["total"]["events"] == 0
    assert usage(other)["total"]["events"] == 4
