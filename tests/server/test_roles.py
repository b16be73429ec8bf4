"""Every route with every role, and with no key, a wrong key, an ended key, another workspace's key.

A new route has to be given a line in `RULES`: without one the first test fails.
"""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import httpx
import psycopg
import pytest
from speaking import Client
from workbench_server.app import make_app
from workbench_server.configuration import Configuration

RUN = str(UUID(int=1, version=4))
SHA = "0" * 64
# Whom a route lets in: anybody, or keys of a role and those above it.
RULES = {
    "GET /openapi.json": "anybody",
    "GET /metrics": "anybody",
    "GET /v1/health": "anybody",
    "GET /v1/ready": "anybody",
    "GET /v1/runs": "reader",
    "POST /v1/runs": "writer",
    "GET /v1/runs/{run_id}": "reader",
    "PATCH /v1/runs/{run_id}": "writer",
    "GET /v1/runs/{run_id}/forks": "reader",
    "GET /v1/runs/{run_id}/manifest": "reader",
    "POST /v1/runs/{run_id}/end": "writer",
    "POST /v1/runs/{run_id}/cancel": "writer",
    "POST /v1/runs/{run_id}/heartbeat": "writer",
    "GET /v1/runs/{run_id}/events": "reader",
    "POST /v1/runs/{run_id}/events": "writer",
    "GET /v1/runs/{run_id}/events/stream": "reader",
    "GET /v1/runs/{run_id}/bodies": "reader",
    "POST /v1/batches": "writer",
    "GET /v1/sessions": "reader",
    "GET /v1/sessions/{session}": "reader",
    "GET /v1/artifacts": "reader",
    "GET /v1/artifacts/{sha256}": "reader",
    "PUT /v1/artifacts/{sha256}": "writer",
    "GET /v1/snapshots": "reader",
    "POST /v1/snapshots": "writer",
    "GET /v1/agents": "reader",
    "GET /v1/replays": "reader",
    "POST /v1/replays": "writer",
    "GET /v1/replays/{job_id}": "reader",
    "POST /v1/replays/{job_id}/cancel": "writer",
    "GET /v1/usage": "reader",
    "GET /v1/limits": "admin",
    "PATCH /v1/limits": "admin",
    "GET /v1/redaction": "writer",
    "PUT /v1/redaction": "admin",
    "GET /v1/keys": "admin",
    "POST /v1/keys": "admin",
    "POST /v1/keys/{key_id}/rotate": "admin",
    "DELETE /v1/keys/{key_id}": "admin",
}
RANK = {"reader": 0, "writer": 1, "admin": 2}


def walked(routes, prefix=""):
    """Every method and address of an app, as its router has them."""
    for route in routes:
        inner = getattr(route, "original_router", None)
        if inner is not None:
            yield from walked(inner.routes, prefix + route.include_context.prefix)
            continue
        for method in getattr(route, "methods", None) or ():
            yield f"{method} {prefix}{route.path_format}"


def routes():
    """What the app answers to: its description, and whatever the router holds beside it."""
    app = make_app(
        Configuration(
            database_url=None,
            app_database_url=None,
            worker_database_url=None,
            bench_database_url=None,
            storage_url=None,
        )
    )
    described = {
        f"{method.upper()} {path}"
        for path, methods in app.openapi()["paths"].items()
        for method in methods
    }
    return described | {one for one in walked(app.routes) if not one.startswith("HEAD ")}


def test_every_route_has_a_rule_and_every_rule_a_route():
    assert routes() == set(RULES)


@pytest.fixture
def keys(server):
    """A key of each kind, by what it is."""
    name = server.workspace.name
    keys = {role: server.make_workspace(name, role=role).api_key for role in RANK}
    keys["another workspace's"] = server.make_workspace(f"other-{name}").api_key
    ended = {kind: server.make_workspace(name).api_key for kind in ("expired", "revoked")}
    past = datetime.now(UTC) - timedelta(seconds=1)
    with psycopg.connect(server.database.owner_url) as owner:
        for kind, column in (("expired", "expires_at"), ("revoked", "revoked_at")):
            owner.execute(
                f"update api_keys set {column} = %s where key_hash = sha256(%s)",
                [past, ended[kind].encode()],
            )
    return keys | ended | {"unknown": "wbk_unknown00000_" + "x" * 43, "none": None}


def ask(server, rule, key):
    method, _, path = rule.partition(" ")
    path = path.format(run_id=RUN, sha256=SHA, key_id="nobody", session="nobody", job_id=RUN)
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    return httpx.request(method, f"{server.url}{path}", headers=headers, timeout=60)


@pytest.mark.parametrize("rule", RULES)
def test_a_route_lets_in_its_role_and_those_above(server, keys, rule):
    """What gets past the door may be refused behind it, but for another reason."""
    wanted = RULES[rule]
    refused = {kind: ask(server, rule, key).status_code for kind, key in keys.items()}
    let_in = {kind for kind, status in refused.items() if status not in (401, 403)}
    if wanted == "anybody":
        # Health says whose key it was given, so there a key that is none is refused.
        expected = {"none", *RANK, "another workspace's"}
        assert expected <= let_in
        return
    roles = {role for role in RANK if RANK[role] >= RANK[wanted]}
    assert let_in == roles | {"another workspace's"}  # an admin's, of a workspace of its own
    assert {refused[kind] for kind in RANK.keys() - roles} <= {403}
    assert {refused[kind] for kind in ("none", "unknown", "expired", "revoked")} == {401}


def test_a_refusal_says_what_is_needed(server, keys):
    with Client(server.url, keys["reader"]).http as http:
        for method, path, expected in (
            ("POST", "/runs", "writer or admin"),
            ("GET", "/keys", "admin"),
        ):
            problem = http.request(method, path).json()
            assert (problem["code"], problem["expected"], problem["found"]) == (
                "forbidden", expected, "reader",
            )  # fmt: skip


def test_another_workspace_s_key_finds_nothing_of_this_one(server, keys, client):
    run_id = client.create(run_id=RUN, name="mine")
    with Client(server.url, keys["another workspace's"]).http as http:
        for rule in RULES:
            method, _, path = rule.partition(" ")
            if "{run_id}" not in path:
                continue
            answer = http.request(method, path.removeprefix("/v1").format(run_id=run_id), json={})
            assert answer.status_code in (404, 422), (rule, answer.text)
            assert "mine" not in answer.text
    assert client.row(run_id)["status"] == "running"
