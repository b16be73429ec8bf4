"""What every imported run looks like, whatever it came from."""

from collections import defaultdict

import orjson
import pytest
from foreign import dojo, dojo_answer, dojo_ask, dojo_call, run_of
from realdata import FOLDER, needs_realdata, traces

from workbench import formats, hashing, schema
from workbench.recording import read

_FILES = {
    "agentdojo": "agentdojo/runs/gpt-4o-2024-05-13/slack/user_task_13/none/none.json",
    "tau-bench": "tau-bench/gpt-4o-airline.json",
    "tau2": "tau2/model_training__results__gpt-4.1_retail_defautl_gpt-4.1_1trials.json",
}


@pytest.fixture(params=list(_FILES))
def run(request):
    path = FOLDER / _FILES[request.param]
    return formats.imported(traces(request.param, path)[0])


def _parallel():
    first, second = dojo_call("f", {"n": 1}), dojo_call("f", {"n": 2})
    messages = [
        {"role": "system", "content": "be kind"},
        {"role": "user", "content": "go"},
        dojo_ask(first, second),
        dojo_answer("one", first),
        dojo_answer("two", second),
        {"role": "assistant", "content": "done", "tool_calls": None},
    ]
    return run_of("agentdojo", dojo(messages))


@needs_realdata
def test_digests_are_those_of_the_stored_events(run):
    assert [e.digest for e in run.events] == [hashing.event_digest(e) for e in run.events]


@needs_realdata
def test_payloads_are_canonical_and_fit_their_type(run):
    for event in run.events:
        raw = bytes(event.payload)
        assert raw == hashing.dumps(orjson.loads(raw))
        schema.parse_body(event)


@needs_realdata
def test_bodies_stand_under_their_digests_and_every_named_one_is_there(run):
    assert {digest: hashing.digest_of(body) for digest, body in run.bodies.items()} == {
        digest: digest for digest in run.bodies
    }
    named = set()
    for event in run.events:
        payload = orjson.loads(bytes(event.payload))
        named.update(filter(None, [payload.get("outcome", {}).get("message")]))
        named.update(filter(None, [payload.get("message")]))
        named.update((payload.get("input") or {}).get("messages", []))
    for call in read(run.events, run.bodies).calls:
        named.update(call.request.get("messages", []))
    assert named == set(run.bodies)


@needs_realdata
def test_numbers_count_without_gaps_and_the_last_event_names_the_last_one(run):
    assert [e.writer_seq for e in run.events] == list(range(1, len(run.events) + 1))
    assert orjson.loads(bytes(run.events[-1].payload))["writers"] == {"import": len(run.events)}
    ordinals = defaultdict(list)
    for event in run.events:
        if event.event_type == "call_started":
            ordinals[event.lane].append(event.ordinal)
    assert {lane: list(range(1, len(n) + 1)) for lane, n in ordinals.items()} == dict(ordinals)


@needs_realdata
@pytest.mark.parametrize("name", list(_FILES))
def test_the_same_bytes_give_the_same_digests(name):
    twice = [
        [
            e.digest
            for trace in traces(name, FOLDER / _FILES[name])
            for e in formats.imported(trace).events
        ]
        for _ in range(2)
    ]

    assert twice[0] == twice[1]


def test_a_model_is_asked_with_everything_before_it_and_system_messages_are_the_input():
    run = _parallel()

    asked = [call.request for call in read(run.events, run.bodies).calls if call.kind == "model"]
    requests = [len(request["messages"]) for request in asked]
    begin = orjson.loads(bytes(run.events[0].payload))
    assert requests == [2, 5]
    assert begin["pooled"] is True
    assert [run.bodies[d]["content"] for d in begin["input"]["messages"]] == ["be kind"]


def test_parallel_tool_calls_stand_in_lanes_by_their_place_in_the_message():
    run = _parallel()

    started = [e for e in run.events if e.event_type == "call_started"]
    assert [(e.kind, e.lane, e.ordinal) for e in started] == [
        ("human", "root", 1),
        ("model", "root", 2),
        ("tool", "root/tools[0]", 1),
        ("tool", "root/tools[1]", 1),
        ("model", "root", 3),
    ]
    assert {e.quality for e in started} == {"reconstructed"}
    assert {e.order for e in started} == {"inferred"}
    assert {e.effect for e in started if e.kind == "tool"} == {"unknown"}


def test_a_call_is_signed_by_what_was_asked():
    run = _parallel()

    tool = next(e for e in run.events if e.kind == "tool")
    assert tool.signature == hashing.signature_of(
        kind="tool", name="f", request={"arguments": {"n": 1}}
    )


def test_a_system_message_in_the_middle_is_kept_in_its_place():
    messages = [{"role": "user", "content": "a"}, {"role": "system", "content": "b"}]

    run = run_of("agentdojo", dojo(messages))

    assert [e.event_type for e in run.events] == [
        *("run_started", "call_started", "call_ended", "annotated", "run_ended")
    ]


def test_the_output_is_the_last_answer():
    assert orjson.loads(bytes(_parallel().events[-1].payload))["output"] == "done"
