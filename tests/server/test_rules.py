"""A workspace's rules: set by admins, told to writers, and kept by refusing what they would change."""

import orjson
import pytest
from speaking import a_message, a_model_call, event, wire

from workbench import hashing
from workbench.redaction import Rule, redact

EMAIL = {"name": "email", "pattern": r"[\w.+-]+@[\w-]+\.[\w.-]+"}
ADDRESS = "ann@example.org"


@pytest.fixture
def ruled(client):
    answer = client.http.put("/redaction", json={"rules": [EMAIL]})
    assert answer.status_code == 200, answer.text
    return client


def refused(answer):
    said = answer.json()
    return answer.status_code, said.get("code"), said.get("details", {}).get("rule")


def plain(one):
    return orjson.loads(wire(one))


def started(payload, number=1):
    return event("call_started", number, payload, kind="tool", name="mail")


def test_a_workspace_begins_without_rules_and_has_a_key_of_its_own(client, server):
    first = client.http.get("/redaction").json()
    assert (first["rules"], first["key_version"], len(first["key"])) == ([], 0, 64)
    other = server.make_workspace(f"{server.workspace.name}-other")
    answer = client.http.get("/redaction", headers={"Authorization": f"Bearer {other.api_key}"})
    assert answer.json()["key"] != first["key"]


def test_rules_that_were_set_are_told_with_every_run_that_is_made(ruled):
    said = ruled.http.get("/redaction")
    assert said.json()["rules"] == [EMAIL]
    assert said.headers["cache-control"] == "no-store"
    made = ruled.http.post("/runs", json={}).json()
    assert made["redaction"] == {"rules": [EMAIL], "key_version": 1}
    assert "key" not in made["redaction"]


@pytest.mark.parametrize(
    "rule",
    [
        {"name": "e mail", "pattern": "x"},
        {"name": "email", "pattern": "("},
        {"name": "email", "pattern": "x*"},
        {"name": "email", "pattern": "x" * 2000},
    ],
    ids=["name", "syntax", "empty match", "length"],
)
def test_a_rule_that_cannot_be_applied_is_refused_and_changes_nothing(ruled, rule):
    answer = ruled.http.put("/redaction", json={"rules": [rule]})
    assert (answer.status_code, answer.json()["code"]) == (422, "usage_error")
    assert answer.json()["where"] == "rules[0]"
    assert ruled.http.get("/redaction").json()["rules"] == [EMAIL]


def test_an_event_that_the_rules_would_change_is_refused_with_digest_and_rule(ruled):
    run_id = ruled.create()
    answer = ruled.send(run_id, [started({"request": {"arguments": {"to": ADDRESS}}})])
    assert refused(answer) == (422, "redaction_required", "email")
    assert hashing.is_sha256(answer.json()["details"]["digest"])
    assert answer.json()["where"] == "events[0]"
    assert ADDRESS not in answer.text
    assert ruled.row(run_id)["events"] == 0


def test_a_redacted_event_is_stored(ruled):
    key = bytes.fromhex(ruled.http.get("/redaction").json()["key"])
    request = redact({"arguments": {"to": ADDRESS}}, [Rule(**EMAIL)], key)
    assert ruled.send(ruled.create(), [started({"request": request})]).status_code == 200


def test_a_message_that_the_rules_would_change_is_refused_before_any_of_the_batch_is_stored(ruled):
    digest, body = a_message(f"write to {ADDRESS}")
    run_id = ruled.create()
    answer = ruled.send(run_id, a_model_call(1, messages=[digest]), {digest: body})
    assert refused(answer) == (422, "redaction_required", "email")
    assert answer.json()["details"]["digest"] == digest
    assert ruled.http.get(f"/runs/{run_id}/bodies").json() == {}


def test_digests_and_the_agent_s_code_are_no_texts_that_rules_see(client):
    client.http.put("/redaction", json={"rules": [{"name": "hex", "pattern": "[0-9a-f]{16,}"}]})
    digest, body = a_message("hi")
    run_id = client.create()
    code = {"entry_point": "a:b", "code": {"modules": {"a": digest}}}
    call = a_model_call(2, messages=[digest], outcome=digest)
    answer = client.send(run_id, [event("run_started", 1, code), *call], {digest: body})
    assert answer.status_code == 200, answer.text


def test_only_the_events_in_question_are_refused_where_the_rest_may_be_stored(ruled):
    run_id = ruled.create()
    good, bad = started({"request": {}}), started({"request": {"q": ADDRESS}}, 2)
    answer = ruled.send(run_id, [good, bad], atomic=False)
    assert (answer.status_code, answer.json()["accepted"]) == (200, 1)
    assert [one["code"] for one in answer.json()["rejected"]] == ["redaction_required"]


def test_names_labels_reasons_and_outputs_are_held_against_the_rules_too(ruled):
    for header in ({"name": ADDRESS}, {"session": ADDRESS}, {"labels": {"who": ADDRESS}}):
        assert refused(ruled.http.post("/runs", json=header))[1:] == ("redaction_required", "email")
    run_id = ruled.create()
    patched = ruled.http.patch(f"/runs/{run_id}", json={"labels": {"who": ADDRESS}})
    assert refused(patched)[1] == "redaction_required"
    for said in ({"reason": ADDRESS}, {"output": {"to": ADDRESS}}):
        ended = ruled.http.post(f"/runs/{run_id}/end", json=said)
        assert refused(ended)[1] == "redaction_required"
    cancelled = ruled.http.post(f"/runs/{run_id}/cancel", json={"reason": ADDRESS})
    assert refused(cancelled)[1] == "redaction_required"
    assert ruled.row(run_id)["status"] == "running"


def test_a_run_that_the_rules_would_change_is_left_out_of_a_batch_of_runs(ruled):
    bad = {"header": {}, "events": [plain(started({"request": {"q": ADDRESS}}))]}
    named = {"header": {"name": ADDRESS}, "events": []}
    good = {"header": {}, "events": [plain(started({"request": {}}))]}
    answer = ruled.http.post("/batches", json={"runs": [bad, named, good]})
    codes = [one.get("error", {}).get("code") for one in answer.json()["runs"]]
    assert codes == ["redaction_required", "redaction_required", None]


def test_the_key_is_not_for_readers(ruled, server):
    reader = server.make_workspace(server.workspace.name, role="reader")
    answer = ruled.http.get("/redaction", headers={"Authorization": f"Bearer {reader.api_key}"})
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
