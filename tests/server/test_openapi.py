"""The document says all that a client has to know, of every route of everybody."""

import jsonschema_rs
import pytest
import schemathesis
from workbench_server.app import make_app
from workbench_server.configuration import Configuration
from workbench_server.openapi.operations import OPERATIONS

METHODS = ("get", "put", "post", "patch", "delete")


@pytest.fixture(scope="module")
def app():
    nothing = dict.fromkeys(("database_url", "worker_database_url", "bench_database_url"))
    return make_app(Configuration(**nothing, app_database_url="x", storage_url="x"))


@pytest.fixture(scope="module")
def document(app):
    return app.openapi()


@pytest.fixture(scope="module")
def operations(document):
    return {
        (method.upper(), path): said
        for path, methods in document["paths"].items()
        for method, said in methods.items()
        if method in METHODS
    }


def resolved(document, said):
    while "$ref" in said:
        place = document
        for part in said["$ref"].removeprefix("#/").split("/"):
            place = place[part]
        said = place
    return said


def test_every_route_is_described_and_nothing_else(operations):
    assert set(operations) == set(OPERATIONS)


def test_every_route_has_a_name_a_text_and_a_described_answer(operations):
    names = [said["operationId"] for said in operations.values()]
    assert len(set(names)) == len(names)
    for place, said in operations.items():
        assert said["description"].strip(), place
        good = [status for status in said["responses"] if status.startswith("2")]
        assert good, place
        for status in good:
            content = said["responses"][status]["content"]
            assert content, place
            assert all("schema" in one for one in content.values()), place


def test_every_error_is_a_problem_and_none_is_left_out(document, operations):
    for (method, path), said in operations.items():
        wanted = {"400", "414", "422", "500", "503"}
        if OPERATIONS[method, path].role is not None:
            wanted |= {"401", "403", "429"}
            assert said["security"] == [{"key": []}]
        if "{" in path and method != "PUT":
            wanted |= {"404"}
        if method in {"POST", "PUT", "PATCH"} and "requestBody" in said:
            wanted |= {"413", "415"}
        assert wanted <= set(said["responses"]), (method, path)
        for status, answer in said["responses"].items():
            if not status.startswith("2"):
                schema = resolved(document, answer)["content"]["application/problem+json"]["schema"]
                assert resolved(document, schema)["properties"].keys() >= {"code", "request_id"}


def test_what_is_said_to_a_key_that_health_was_shown_is_described(operations):
    assert {"401", "429"} <= set(operations["GET", "/v1/health"]["responses"])


def test_every_error_shows_what_one_looks_like(document):
    problem = resolved(document, {"$ref": "#/components/schemas/Problem"})
    for status, answer in document["components"]["responses"].items():
        example = answer["content"]["application/problem+json"]["example"]
        assert example["status"] == int(status)
        assert set(problem["required"]) <= example.keys()


def test_every_body_that_a_route_reads_is_described(operations):
    without = {
        ("POST", "/v1/runs/{run_id}/heartbeat"),
        ("POST", "/v1/snapshots"),
        ("POST", "/v1/replays/{job_id}/cancel"),
    }
    writes = {place for place in operations if place[0] in {"POST", "PUT", "PATCH"}}
    assert {place for place in writes if "requestBody" not in operations[place]} == without
    for place in writes - without:
        content = operations[place]["requestBody"]["content"]
        assert all(one["schema"] for one in content.values()), place
        assert "application/json" not in content or "example" in content["application/json"]


def test_every_example_fits_its_schema(document, operations):
    for place, said in operations.items():
        for one in said.get("requestBody", {}).get("content", {}).values():
            if "example" in one:
                schema = one["schema"] | {"components": document["components"]}
                assert jsonschema_rs.validator_for(schema).is_valid(one["example"]), place


def test_every_parameter_is_described(document, operations):
    for place, said in operations.items():
        for parameter in said["parameters"]:
            known = resolved(document, parameter)
            assert known["description"], (place, known["name"])
            assert known["schema"], (place, known["name"])


def test_every_reference_leads_somewhere(document):
    def walk(node):
        if isinstance(node, dict):
            if "$ref" in node:
                assert resolved(document, node)
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    walk(document)


def test_schemathesis_takes_the_document(app, document):
    schema = schemathesis.openapi.from_dict(document)
    schema.validate()
    assert len(list(schema.get_all_operations())) == len(OPERATIONS)
