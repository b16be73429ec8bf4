from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import pytest
from speaking import a_whole_run, event


def code(answer):
    return answer.status_code, answer.json()["code"]


def test_a_run_without_an_id_gets_one_that_grows_with_time(client):
    ids = [client.create() for _ in range(3)]
    assert [UUID(i).version for i in ids] == [7, 7, 7]
    assert [row["run_id"] for row in client.http.get("/runs").json()["runs"]] == ids[::-1]


def test_the_same_header_again_finds_the_same_run(client):
    header = {"run_id": str(uuid4()), "name": "a", "labels": {"x": 1, "gone": None}}
    first = client.http.post("/runs", json=header)
    assert (first.status_code, first.json()["created"]) == (201, True)
    assert first.json()["redaction"] == {"rules": [], "key_version": 0}
    client.http.patch(f"/runs/{header['run_id']}", json={"name": "b", "labels": {"x": 2}})
    loud = header | {"run_id": header["run_id"].upper(), "labels": {"x": 1}}
    again = client.http.post("/runs", json=loud)
    assert (again.status_code, again.json()["created"]) == (200, False)
    assert client.row(header["run_id"])["labels"] == {"x": 2}


def test_the_same_id_with_other_facts_is_a_conflict(client):
    run_id = client.create(name="a")
    answer = client.http.post("/runs", json={"run_id": run_id, "name": "b"})
    assert code(answer) == (409, "conflict")
    assert client.row(run_id)["name"] == "a"


def test_a_run_made_by_many_at_once_is_one_run(client):
    header = {"run_id": str(uuid4()), "source": "test:x"}
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: client.http.post("/runs", json=header), range(12)))
    assert sorted(a.status_code for a in answers) == [200] * 11 + [201]


def test_a_source_is_one_run_s_until_another_supersedes_it(client):
    old = client.create(source="test:x", name="old")
    assert code(client.http.post("/runs", json={"source": "test:x"})) == (409, "conflict")
    new = client.create(source="test:x", name="new", supersedes=old)
    found = client.http.get("/runs", params={"source": "test:x"}).json()["runs"]
    assert [row["run_id"] for row in found] == [new]
    assert client.row(old)["superseded_by"] == new
    again = client.http.post(
        "/runs", json={"run_id": new, "source": "test:x", "name": "new", "supersedes": old}
    )
    assert again.json()["created"] is False


def test_a_superseded_run_may_come_after_what_superseded_it(client):
    old, new = str(uuid4()), str(uuid4())
    client.create(run_id=new, source="test:x", supersedes=old)
    client.create(run_id=old, source="test:x")
    assert client.row(old)["superseded_by"] == new


def test_the_listing_is_narrowed_and_paged(client):
    for i in range(7):
        run_id = client.create(
            name=f"n{i % 2}", agent="a", session="s", labels={"even": i % 2 == 0, "i": i}
        )
    client.send(run_id, *a_whole_run())

    def names(**query):
        return [r["labels"]["i"] for r in client.http.get("/runs", params=query).json()["runs"]]

    assert names() == [6, 5, 4, 3, 2, 1, 0]
    assert names(name="n1") == [5, 3, 1]
    assert names(status="done") == [6]
    assert names(label="even:true", limit=2) == [6, 4]
    assert names(label=["even:true", "i:2"]) == [2]
    assert names(agent="b") == names(session="t") == []
    seen, cursor = [], None
    while True:
        page = client.http.get(
            "/runs", params={"limit": 3} | ({"cursor": cursor} if cursor else {})
        )
        seen += [row["labels"]["i"] for row in page.json()["runs"]]
        cursor = page.json()["next_cursor"]
        if cursor is None:
            break
    assert seen == [6, 5, 4, 3, 2, 1, 0]


def test_a_run_s_name_and_labels_change_and_nothing_else(client):
    run_id = client.create(name="a", labels={"x": 1, "y": 2})
    answer = client.http.patch(f"/runs/{run_id}", json={"labels": {"x": None, "z": "new"}})
    assert answer.json()["labels"] == {"y": 2, "z": "new"}
    assert client.http.patch(f"/runs/{run_id}", json={"name": None}).json()["name"] is None
    assert client.http.patch(f"/runs/{run_id}", json={}).json()["labels"] == {"y": 2, "z": "new"}


def test_an_unknown_run_is_told_with_the_nearest_ids(client):
    run_id = client.create()
    wanted = run_id[:-2] + ("00" if run_id[-2:] != "00" else "11")
    answer = client.http.get(f"/runs/{wanted}")
    assert code(answer) == (404, "run_not_found")
    assert answer.json()["details"]["nearest"] == [run_id]


@pytest.mark.parametrize("status", ["done", "failed", "cancelled", "diverged"])
def test_a_run_ends_as_its_last_event_says(client, status):
    run_id = client.create()
    client.send(run_id, [event("run_ended", 1, {}, status=status, duration_ms=5.0)])
    row = client.row(run_id)
    assert (row["status"], row["duration_ms"]) == (status, 5.0)


def test_a_run_without_any_time_ends_all_the_same(client):
    run_id = client.create()
    client.send(run_id, [event("run_ended", 1, {}, status="done", started_at=None)])
    assert client.row(run_id)["ended_at"] is None
    answer = client.send(run_id, [event("step_started", 2)])
    assert code(answer) == (409, "run_closed")
