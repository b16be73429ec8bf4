"""API keys: made once, shown once, rotated with an overlap, ended at once."""

import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import httpx
import psycopg
import pytest
from running import _url_of, make_workspace, service
from speaking import Client
from workbench_server.workspaces import create_workspace

from workbench.errors import Conflict, UsageError
from workbench.schema import now

KEY = re.compile(r"wbk_([a-z0-9]{12})_[A-Za-z0-9]{43}")


def made(client, **wanted):
    answer = client.http.post("/keys", json={"role": "writer"} | wanted)
    assert answer.status_code == 201, answer.text
    return answer.json()


def listed(client):
    return {key["key_id"]: key for key in client.http.get("/keys").json()["keys"]}


def status_with(server, secret, path="/runs"):
    headers = {"Authorization": f"Bearer {secret}"}
    return httpx.get(f"{server.url}/v1{path}", headers=headers).status_code


def own_id(client):
    (key,) = client.http.get("/keys").json()["keys"]
    return key["key_id"]


def test_a_key_is_shown_once_and_its_hash_alone_is_kept(server, client):
    answer = client.http.post("/keys", json={"role": "reader", "name": "nightly report"})
    said = answer.json()
    key = said["key"]
    assert answer.headers["cache-control"] == "no-store"
    assert KEY.fullmatch(said["secret"]).group(1) == key["key_id"]
    assert (key["role"], key["name"], key["status"]) == ("reader", "nightly report", "live")
    assert key["prefix"] == f"wbk_{key['key_id']}"
    assert status_with(server, said["secret"]) == 200
    assert said["secret"] not in client.http.get("/keys").text
    with psycopg.connect(server.database.owner_url) as owner:
        rows = owner.execute("select api_keys::text from api_keys").fetchall()
    assert not any(said["secret"][-43:] in row[0] for row in rows)


def test_two_keys_are_never_alike(client):
    secrets = {made(client)["secret"] for _ in range(20)}
    assert len(secrets) == 20


def test_keys_of_an_earlier_version_have_an_id_and_work(server, client):
    (key,) = client.http.get("/keys").json()["keys"]
    assert re.fullmatch("[0-9a-f]{12}", key["key_id"])
    assert (key["prefix"], key["role"], key["status"]) == (None, "admin", "live")


def test_a_revoked_key_stops_at_once_where_it_was_revoked(server, client):
    said = made(client)
    key_id = said["key"]["key_id"]
    assert status_with(server, said["secret"]) == 200
    answer = client.http.delete(f"/keys/{key_id}")
    assert (answer.status_code, answer.json()["key"]["status"]) == (200, "revoked")
    assert status_with(server, said["secret"]) == 401
    assert client.http.delete(f"/keys/{key_id}").json() == answer.json()


def test_an_expired_key_stops_and_not_before(server, client):
    expires_at = datetime.now(UTC) + timedelta(seconds=1.5)
    said = made(client, expires_at=expires_at.isoformat())
    assert status_with(server, said["secret"]) == 200
    while (status := status_with(server, said["secret"])) == 200:
        assert datetime.now(UTC) < expires_at + timedelta(seconds=5)
    assert status == 401
    assert datetime.now(UTC) >= expires_at
    assert listed(client)[said["key"]["key_id"]]["status"] == "expired"


def test_rotation_makes_a_key_of_the_same_kind_and_lets_the_old_one_go_on(server, client):
    ends = (datetime.now(UTC) + timedelta(days=90)).isoformat()
    old = made(client, role="reader", name="ci", expires_at=ends)
    answer = client.http.post(f"/keys/{old['key']['key_id']}/rotate")
    new = answer.json()
    assert answer.status_code == 201
    assert (new["key"]["role"], new["key"]["name"]) == ("reader", "ci")
    assert {status_with(server, each["secret"]) for each in (old, new)} == {200}
    after = listed(client)
    was = after[old["key"]["key_id"]]
    assert (was["status"], was["replaced_by"]) == ("replaced", new["key"]["key_id"])
    for at, days in ((was["expires_at"], 1), (new["key"]["expires_at"], 90)):
        left = datetime.fromisoformat(at) - datetime.now(UTC)
        assert timedelta(days=days, minutes=-1) < left <= timedelta(days=days)
    again = client.http.post(f"/keys/{old['key']['key_id']}/rotate")
    assert (again.status_code, again.json()["code"]) == (409, "conflict")
    assert len(listed(client)) == len(after)


def test_rotation_without_overlap_ends_the_old_key_at_once(server, client):
    old = made(client)
    assert status_with(server, old["secret"]) == 200
    path = f"/keys/{old['key']['key_id']}/rotate"
    new = client.http.post(path, json={"overlap_s": 0}).json()
    assert status_with(server, old["secret"]) == 401
    assert status_with(server, new["secret"]) == 200


def test_a_rotation_never_lengthens_a_key_s_life(client):
    soon = (datetime.now(UTC) + timedelta(minutes=5)).replace(microsecond=0)
    old = made(client, expires_at=soon.isoformat())
    client.http.post(f"/keys/{old['key']['key_id']}/rotate")
    assert datetime.fromisoformat(listed(client)[old["key"]["key_id"]]["expires_at"]) == soon


def test_the_last_admin_key_cannot_be_revoked(client):
    mine = own_id(client)
    made(client, role="writer")
    refused = client.http.delete(f"/keys/{mine}")
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    assert "admin key first" in refused.json()["hint"]
    made(client, role="admin")
    assert client.http.delete(f"/keys/{mine}").status_code == 200


def test_a_replaced_admin_key_does_not_count_as_one_that_stays(server, client):
    mine = own_id(client)
    new = client.http.post(f"/keys/{mine}/rotate").json()
    assert client.http.delete(f"/keys/{new['key']['key_id']}").status_code == 409
    assert client.http.delete(f"/keys/{mine}").status_code == 200
    assert status_with(server, new["secret"], "/keys") == 200


def test_two_admins_who_revoke_each_other_do_not_both_succeed(server, client):
    with ExitStack() as opened:
        for _ in range(10):
            (mine,) = [k for k, key in listed(client).items() if key["status"] == "live"]
            other = made(client, role="admin")
            rival = Client(server.url, other["secret"])
            opened.callback(rival.http.close)
            status = at_once(
                lambda client=client, key=other: client.http.delete(
                    f"/keys/{key['key']['key_id']}"
                ),
                lambda rival=rival, key=mine: rival.http.delete(f"/keys/{key}"),
            )
            assert sorted(status) in ([200, 401], [200, 409])
            client = client if status[0] == 200 else rival


def at_once(*requests):
    """The status of requests that begin together."""
    ready = threading.Barrier(len(requests))

    def send(request):
        ready.wait()
        return request().status_code

    with ThreadPoolExecutor(len(requests)) as pool:
        return list(pool.map(send, requests))


def test_a_use_is_written_down_but_not_more_than_once_a_minute(server, client):
    said = made(client)
    key_id = said["key"]["key_id"]
    assert listed(client)[key_id]["last_used_at"] is None
    began = now()
    assert status_with(server, said["secret"]) == 200
    used_at = datetime.fromisoformat(listed(client)[key_id]["last_used_at"])
    assert abs(used_at - began) < timedelta(seconds=30)
    for seconds, moves in ((30, False), (90, True)):
        earlier = used_at - timedelta(seconds=seconds)
        with psycopg.connect(server.database.owner_url) as owner:
            owner.execute(
                "update api_keys set last_used_at = %s where key_id = %s", [earlier, key_id]
            )
            owner.execute(
                "select workspace_of_key(key_hash) from api_keys where key_id = %s", [key_id]
            )
        found = datetime.fromisoformat(listed(client)[key_id]["last_used_at"])
        assert (found > earlier) == moves


def test_writing_down_a_use_waits_for_nobody(server, client):
    said = made(client)
    with psycopg.connect(server.database.owner_url) as owner:
        owner.execute("select from api_keys where key_id = %s for update", [said["key"]["key_id"]])
        assert status_with(server, said["secret"]) == 200


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"role": "owner"}, "invalid_event"),
        ({}, "invalid_event"),
        ({"role": "reader", "colour": 1}, "invalid_event"),
        ({"role": "reader", "name": "x" * 201}, "limit_exceeded"),
        ({"role": "reader", "name": "a\0b"}, "invalid_event"),
        ({"role": "reader", "expires_at": "2020-01-01T00:00:00Z"}, "usage_error"),
        ({"role": "reader", "expires_at": "2099-01-01T00:00:00"}, "usage_error"),
        ({"role": "reader", "expires_at": "tomorrow"}, "invalid_event"),
    ],
)
def test_a_key_that_makes_no_sense_is_not_made(client, body, code):
    before = listed(client)
    answer = client.http.post("/keys", json=body)
    assert (answer.status_code in (413, 422), answer.json()["code"]) == (True, code), answer.text
    assert listed(client) == before


def test_a_key_that_expires_after_all_times_is_told_so(client):
    ends = "9999-12-31T23:59:59-10:00"
    problem = client.http.post("/keys", json={"role": "reader", "expires_at": ends}).json()
    assert (problem["code"], problem["where"]) == ("usage_error", "expires_at")
    assert problem["found"] == ends


@pytest.mark.parametrize("overlap_s", [-1, 30 * 86_400 + 1, "x", 10**30])
def test_an_overlap_out_of_range_is_refused(client, overlap_s):
    path = f"/keys/{made(client)['key']['key_id']}/rotate"
    assert client.http.post(path, json={"overlap_s": overlap_s}).status_code == 422


@pytest.mark.parametrize("key_id", ["nope", "%00", "x" * 500])
def test_an_unknown_key_is_not_found(client, key_id):
    for answer in (
        client.http.delete(f"/keys/{key_id}"),
        client.http.post(f"/keys/{key_id}/rotate"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_a_workspace_neither_sees_nor_ends_another_s_keys(server, client, other):
    theirs = made(other)
    key_id = theirs["key"]["key_id"]
    assert key_id not in listed(client)
    assert client.http.delete(f"/keys/{key_id}").status_code == 404
    assert client.http.post(f"/keys/{key_id}/rotate").status_code == 404
    assert status_with(server, theirs["secret"]) == 200


def test_a_revoked_key_stops_in_another_process_within_its_memory(server, client):
    said = made(client)
    with service("serve", "--port", "0", environment=server.environment) as process:
        elsewhere = replace(server, url=_url_of(process))
        assert status_with(elsewhere, said["secret"]) == 200
        client.http.delete(f"/keys/{said['key']['key_id']}")
        answers = 0
        while status_with(elsewhere, said["secret"]) == 200:
            answers += 1
            time.sleep(0.2)
        assert answers < 60  # the memory is of five seconds


def test_a_key_of_the_owner_s_making_that_has_ended_is_not_revived(server, client, database):
    workspace = make_workspace(server.database, f"ended-{server.workspace.name}")
    with psycopg.connect(server.database.owner_url) as owner:
        owner.execute(
            "update api_keys set revoked_at = now() where workspace_id = %s",
            [workspace.workspace_id],
        )
    with pytest.raises(Conflict, match="revoked"):
        create_workspace(
            server.database.owner_url, name=workspace.name, key=workspace.api_key, role="admin"
        )


@pytest.mark.parametrize("name", ["", " a", "a\nb", "x" * 101])
def test_the_owner_makes_no_workspace_of_a_senseless_name(database, name):
    with pytest.raises(UsageError):
        create_workspace(database.owner_url, name=name, key="k" * 32)
    with psycopg.connect(database.owner_url) as owner:
        assert owner.execute("select count(*) from workspaces").fetchone() == (0,)
        with pytest.raises(psycopg.errors.CheckViolation):
            owner.execute("insert into workspaces (name) values (%s)", [name])
