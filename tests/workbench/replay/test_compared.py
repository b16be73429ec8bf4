"""What came back from a call beside what was recorded: pointers lead to what differs."""

from __future__ import annotations

import json

import pytest
from handmade import Log

from workbench import hashing, recording
from workbench.capture.outcomes import Came
from workbench.replay.compared import outcome_changes


class Case:
    """A recorded tool call, and a live answer beside it."""

    def __init__(self):
        self.log = Log()
        self.bodies = {}

    def message(self, **body):
        digest = hashing.digest_of(body)
        self.bodies[digest] = body
        return {"message": digest}

    def compared(self, recorded, came, *, was_raised=None, raised=None):
        self.log.begin()
        start = self.log.start("tool", "search", {"arguments": {}}, lane="root/tools")
        self.log.end(start, recorded, raised=was_raised)
        self.log.finish()
        [call] = recording.read(self.log.events, self.bodies).calls
        live = Came(parsed=came, exception=raised, bodies=self.bodies)
        return outcome_changes(call, live, {})


@pytest.fixture
def case():
    return Case()


def pointers(found):
    return [change["pointer"] for change in found.changes]


FLIGHTS = {"flights": [{"price": 100, "seats": 3}, {"price": 250, "seats": 1}]}
RENAMED = {"flights": [{"cost": 100, "seats": 3}, {"cost": 250, "seats": 1}]}


def tool_said(case, content, **extra):
    return case.message(role="tool", content=content, tool_call_id="c1", extra={}, **extra)


def test_the_pointer_leads_into_the_json_of_a_message(case):
    now = {"flights": [{"price": 100, "seats": 3}, {"price": 260, "seats": 1}]}
    found = case.compared(tool_said(case, json.dumps(FLIGHTS)), tool_said(case, json.dumps(now)))
    assert (found.kind, found.seq, found.lane) == ("outcome_mismatch", 2, "root/tools")
    assert found.changes == (
        {"pointer": "/content/flights/1/price", "expected": 250, "actual": 260},
    )
    assert (found.expected["name"], found.actual["name"]) == ("search", "search")
    assert "/content/flights/1/price" in found.cause


def test_a_renamed_field_is_absent_once_on_each_side(case):
    was, now = (tool_said(case, json.dumps(side)) for side in (FLIGHTS, RENAMED))
    found = case.compared(was, now)
    assert [(c["pointer"], c["absent"]) for c in found.changes] == [
        ("/content/flights/0/cost", "expected"),
        ("/content/flights/0/price", "actual"),
        ("/content/flights/1/cost", "expected"),
        ("/content/flights/1/price", "actual"),
    ]


def test_nothing_is_said_of_what_is_the_same(case):
    message = tool_said(case, json.dumps(FLIGHTS))
    assert case.compared(message, message) is None
    assert Case().compared({"value": [1.5, None]}, {"value": [1.5, None]}) is None
    gone = {"class": "builtins:TimeoutError", "message": "late", "args": ["late"]}
    again = gone | {"fields": {"at": 2}}
    assert Case().compared(None, None, was_raised=gone, raised=again) is None


def test_ids_and_what_a_provider_adds_are_not_compared(case):
    def said(number):
        return case.message(
            role="assistant",
            content="",
            tool_calls=[{"id": f"id-{number}", "name": "look", "arguments": {"a": number // 9}}],
            extra={"type": "ai", "usage_metadata": {"input_tokens": number}},
        )

    assert case.compared(said(1), said(2)) is None


def test_arguments_that_a_model_chose_otherwise_are_named(case):
    was = case.message(
        role="assistant", tool_calls=[{"id": "1", "name": "f", "arguments": {"a": 1}}]
    )
    now = case.message(
        role="assistant", tool_calls=[{"id": "2", "name": "f", "arguments": {"a": 2}}]
    )
    assert pointers(case.compared(was, now)) == ["/tool_calls/0/arguments/a"]


@pytest.mark.parametrize(
    ("was", "now", "expected"),
    [
        ({"value": {"a": 1}}, {"value": {"a": True}}, ["/value/a"]),
        ({"value": 1}, {"value": 1.0}, ["/value"]),
        ({"value": 0.0}, {"value": -0.0}, ["/value"]),
        ({"value": '{"a": [1]}'}, {"value": '{"a": [2]}'}, ["/value/a/0"]),
        ({"value": '{"a": 1}'}, {"value": '{"a": true}'}, ["/value/a"]),
        ({"value": '{"a": 1}'}, {"value": '{"a":1}'}, ["/value"]),
        ({"value": '{"a": 1}'}, {"value": "[1]"}, ["/value"]),
        ({"value": "{broken"}, {"value": '{"a": 1}'}, ["/value"]),
        ({"value": [{"t": '["x"]'}]}, {"value": [{"t": '["y"]'}]}, ["/value/0/t/0"]),
        ({"documents": [{"page_content": "p"}]}, {"documents": []}, ["/documents/0"]),
        ({"value": 1, "returned": 2}, {"value": 1, "returned": 3}, ["/returned"]),
    ],
)
def test_pointers_of_other_outcomes(case, was, now, expected):
    found = case.compared(was, now)
    assert found.kind == "outcome_mismatch"
    assert pointers(found) == expected


def test_a_bare_value_beside_a_message_is_its_content(case):
    assert case.compared(tool_said(case, json.dumps(FLIGHTS)), {"value": FLIGHTS}) is None
    case = Case()
    found = case.compared(tool_said(case, json.dumps(FLIGHTS)), {"value": RENAMED})
    assert pointers(found)[:2] == ["/content/flights/0/cost", "/content/flights/0/price"]


LATE = {"class": "builtins:TimeoutError", "message": "late", "args": ["late"]}


@pytest.mark.parametrize(
    ("was", "now", "expected", "words"),
    [
        (LATE, LATE | {"message": "later"}, ["/message"], "raised otherwise"),
        (LATE, None, [], "gave an answer where it was recorded to raise"),
        (None, LATE, [], "raised where it was recorded to answer"),
    ],
)
def test_exceptions_are_compared_by_class_and_message(case, was, now, expected, words):
    outcomes = [None if raised else {"value": 1} for raised in (was, now)]
    found = case.compared(*outcomes, was_raised=was, raised=now)
    assert (found.kind, pointers(found)) == ("exception_mismatch", expected)
    assert words in found.cause


def test_what_an_importer_kept_of_an_error_is_not_missed(case):
    said = tool_said(case, "error: late", error=True)
    assert case.compared(said, None, was_raised=LATE, raised=LATE) is None
