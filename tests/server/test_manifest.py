"""A run's manifest, and what runs made, found by type and tag."""

import hashlib
from uuid import uuid4

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from running import _database
from speaking import a_message, a_model_call, event
from workbench_server.manifests import log_root
from workbench_server.queries import queries

from workbench import hashing


def sha(text):
    return hashlib.sha256(text.encode()).hexdigest()


def made(number, text, *, writer="w", entity_type=None, tags=(), **body):
    payload = {"sha256": sha(text), "size": len(text), "tags": list(tags), **body}
    if entity_type is not None:
        payload["entity_type"] = entity_type
    return event("artifact_created", number, payload, writer=writer)


def artifacts(client, **query):
    answer = client.http.get("/artifacts", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()["artifacts"]


@pytest.fixture
def run_id(client):
    run_id = client.create(name="maker")
    asked = a_message("why?")
    call = a_model_call(2, messages=[asked[0]])
    client.send(run_id, [event("run_started", 1, {}), *call], dict([asked]))
    client.send(
        run_id,
        [
            made(4, "plan", entity_type="plan", tags=["draft", "v1"], media_type="text/plain"),
            made(5, "picture", entity_type="chart", tags=["final"]),
            made(1, "plan 2", writer="b", entity_type="plan", tags=["final", "v2"]),
            made(2, "raw", writer="b"),
        ],
    )
    ended = event("run_ended", 6, {"writers": {"w": 6, "b": 3}}, status="done")
    client.send(run_id, [ended])
    return run_id


def test_a_manifest_says_what_a_run_consists_of(client, run_id, store):
    found = client.http.get(f"/runs/{run_id}/manifest").json()
    head = {name: found[name] for name in ("run_id", "status", "health", "events")}
    assert head == {"run_id": run_id, "status": "done", "health": "gap", "events": 8}
    assert found["event_types"] == {
        "artifact_created": 4, "call_ended": 1, "call_started": 1, "run_ended": 1, "run_started": 1,
    }  # fmt: skip
    assert found["calls"] == {"model": 1}
    assert found["writers"] == [
        {"writer": "b", "last": 2, "final": 3}, {"writer": "w", "last": 6, "final": 6},
    ]  # fmt: skip
    assert [(a["seq"], a["entity_type"], a["tags"]) for a in found["artifacts"]] == [
        (4, "plan", ["draft", "v1"]), (5, "chart", ["final"]), (6, "plan", ["final", "v2"]),
        (7, None, []),
    ]  # fmt: skip
    assert found["artifacts"][0]["sha256"] == sha("plan")
    assert (found["artifacts"][0]["media_type"], found["artifacts"][0]["size"]) == ("text/plain", 4)
    assert found["artifact_count"] == 4
    assert found["entity_types"] == [
        {"entity_type": "chart", "count": 1, "bytes": 7},
        {"entity_type": "plan", "count": 2, "bytes": 10},
        {"entity_type": None, "count": 1, "bytes": 3},
    ]
    assert found["hashes"]["log_root"] == store.run(run_id).digest
    assert len(found["hashes"]["header"]) == 64


def test_a_manifest_of_an_empty_run_has_the_root_of_nothing(client, store):
    run_id = client.create()
    found = client.http.get(f"/runs/{run_id}/manifest").json()
    assert (found["events"], found["artifacts"], found["writers"]) == (0, [], [])
    assert found["hashes"]["log_root"] == hashing.merkle_root([]) == store.run(run_id).digest


def test_a_manifest_of_a_long_run_with_several_writers_has_the_readers_root(
    client, store, monkeypatch
):
    run_id = client.create()
    for n in range(1, 6):
        for writer in ("ü", "a", "B"):
            batch = [
                event("chunk", i, {"index": i}, writer=writer)
                for i in range(n * 200 - 199, n * 200 + 1)
            ]
            assert client.send(run_id, batch).status_code == 200
    found = client.http.get(f"/runs/{run_id}/manifest").json()
    assert found["hashes"]["log_root"] == store.run(run_id).digest
    assert [w["writer"] for w in found["writers"]] == ["B", "a", "ü"]


@given(st.dictionaries(st.text(max_size=3), st.lists(st.binary(min_size=32, max_size=32))))
def test_the_root_is_the_library_s(logs):
    rows = [
        (writer, number, digest.hex())
        for writer, digests in logs.items()
        for number, digest in enumerate(digests, start=1)
    ]
    joined = {writer: b"".join(digests) for writer, digests in logs.items()}
    assert log_root(joined) == hashing.log_root(rows)


def test_unknown_runs_and_those_of_others_have_no_manifest(client, other, run_id):
    for who, wanted in ((client, uuid4()), (client, "x"), (other, run_id)):
        answer = who.http.get(f"/runs/{wanted}/manifest")
        assert (answer.status_code, answer.json()["code"]) == (404, "run_not_found")


# ---- artifacts of many runs


def test_artifacts_are_found_by_type_tag_run_and_bytes(client, run_id):
    later = client.create()
    client.send(later, [made(1, "plan", entity_type="plan", tags=["final"])])
    assert [a["run_id"] for a in artifacts(client)] == [later] + [run_id] * 4
    assert [a["seq"] for a in artifacts(client, run_id=run_id)] == [7, 6, 5, 4]
    assert [a["size"] for a in artifacts(client, entity_type="plan")] == [4, 6, 4]
    assert [a["size"] for a in artifacts(client, tag="final")] == [4, 6, 7]
    assert [a["size"] for a in artifacts(client, tag=["final", "v2"])] == [6]
    assert [a["size"] for a in artifacts(client, entity_type="plan", tag="draft")] == [4]
    assert {a["run_id"] for a in artifacts(client, sha256=sha("plan"))} == {later, run_id}
    assert [a["seq"] for a in artifacts(client, media_type="text/plain")] == [4]
    assert artifacts(client, entity_type="nothing") == artifacts(client, tag="nothing") == []


def test_it_is_said_whether_the_bytes_came_as_well(client, run_id):
    client.http.put(f"/artifacts/{sha('plan')}", content=b"plan")
    assert [a["stored"] for a in artifacts(client, run_id=run_id)] == [False, False, False, True]


def test_pages_give_every_artifact_once_while_others_are_made(client, run_id):
    seen, cursor = [], None
    while True:
        query = {"limit": 1} | ({"cursor": cursor} if cursor else {})
        page = client.http.get("/artifacts", params=query).json()
        seen += [a["seq"] for a in page["artifacts"]]
        client.send(client.create(), [made(1, "new")])
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == [7, 6, 5, 4]
    cursor = client.http.get("/artifacts", params={"limit": 1}).json()["next_cursor"]
    answer = client.http.get("/artifacts", params={"cursor": cursor, "tag": "v1"})
    assert answer.json()["title"] == "the cursor belongs to another query"


@pytest.mark.parametrize(
    "query",
    [
        {"sha256": "abc"}, {"run_id": "x"}, {"entity_type": "a\0"}, {"tag": "a\0"}, {"limit": 0},
        {"cursor": "x"}, {"colour": "red"},
    ],
)  # fmt: skip
def test_questions_that_make_no_sense_are_refused(client, query):
    assert client.http.get("/artifacts", params=query).status_code in (400, 422)


def test_an_artifact_sent_again_is_one_row(client, run_id):
    again = made(5, "picture", entity_type="chart", tags=["final"])
    assert client.send(run_id, [again]).json()["duplicates"] == 1
    assert len(artifacts(client, run_id=run_id)) == 4


def test_a_batch_that_is_refused_leaves_no_artifact(client):
    run_id = client.create()
    assert client.send(run_id, [made(1, "a"), made(3, "b")]).status_code == 409
    assert artifacts(client, run_id=run_id) == []
    assert client.send(run_id, [made(1, "a"), made(3, "b")], atomic=False).status_code == 200
    assert [a["sha256"] for a in artifacts(client, run_id=run_id)] == [sha("a")]


@pytest.mark.parametrize(
    "body",
    [
        {"sha256": "abc"}, {"sha256": sha("x").upper()}, {"size": -1}, {"size": 2**63},
        {"tags": ["a\0"]}, {"entity_type": "a\0"}, {"media_type": "x" * 2000},
        {"tags": ["t"] * 101}, {"tags": [1]},
    ],
)  # fmt: skip
def test_an_artifact_that_fits_no_column_is_refused_with_its_place(client, body):
    run_id = client.create()
    answer = client.send(run_id, [event("artifact_created", 1, {"sha256": sha("x"), **body})])
    assert answer.status_code in (413, 422)
    assert answer.json()["where"].startswith("events[0]")
    assert client.row(run_id)["events"] == 0


def test_artifacts_of_others_are_not_seen(client, other, run_id):
    assert artifacts(other) == []
    assert artifacts(other, run_id=run_id) == []


# ---- plans


def nodes(plan):
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)


def test_artifacts_and_manifests_go_by_their_indexes(postgres):
    workspace, run = uuid4(), uuid4()
    with _database(postgres) as made_, psycopg.connect(made_.owner_url, autocommit=True) as owner:
        owner.execute("select set_config('workbench.workspace', %s, false)", [str(workspace)])
        owner.execute(
            "insert into runs (workspace_id, run_id, header_hash)"
            " select %s, case when i = 1 then %s else gen_random_uuid() end, '\\x00'"
            " from generate_series(1, 1000) i",
            [workspace, run],
        )
        owner.execute(
            "insert into run_artifacts (workspace_id, run_id, seq, sha256, media_type, size,"
            " entity_type) select %s, (select run_id from runs order by md5(run_id::text || i)"
            " limit 1), i, sha256(i::text::bytea), 'x', 1, 't' || i %% 50"
            " from generate_series(1, 3000) i",
            [workspace],
        )
        owner.execute(
            "insert into events (workspace_id, run_id, seq, writer, writer_seq, event_type,"
            " version, received_at, digest, payload)"
            " select %s, case when i %% 10 = 0 then %s else gen_random_uuid() end, i, 'w', i,"
            " 'chunk', 1, now(), sha256(i::text::bytea), '\\x00' from generate_series(1, 20000) i",
            [workspace, run],
        )
        owner.execute("analyze")
        sql, manifests = queries("artifacts"), queries("manifests")
        asked = {
            "run_artifacts_recent": [sql["rows"], sql["order"]],
            "run_artifacts_types": [sql["rows"], sql["entity_type"], sql["order"]],
            "run_artifacts_bytes": [sql["rows"], sql["sha256"]],
            "run_artifacts_key": [sql["rows"], sql["run_id"], sql["by_seq"]],
            "events_key": [manifests["digests"]],
        }
        known = {
            "workspace_id": workspace, "run_id": run, "entity_type": "t7", "limit": 50,
            "sha256": b"\0" * 32, "events": 20000, "after": 0, "upto": 1000,
        }  # fmt: skip
        with psycopg.connect(made_.app_url) as connection:
            connection.execute(
                "select set_config('workbench.workspace', %s, true)", [str(workspace)]
            )
            for index, parts in asked.items():
                query = b"explain (format json) " + b"\n".join(parts)
                plan = connection.execute(query, known).fetchone()[0]
                assert index in {node.get("Index Name") for node in nodes(plan[0]["Plan"])}
                scanned = {
                    n["Relation Name"] for n in nodes(plan[0]["Plan"]) if "Seq" in n["Node Type"]
                }
                assert not scanned & {"run_artifacts", "events"}
