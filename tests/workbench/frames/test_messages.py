"""The messages of imported and of recorded runs."""

import json

import polars as pl
import pytest
from foreign import dojo, dojo_answer, dojo_ask, dojo_call, run_of
from handmade import Log
from hypothesis import given
from hypothesis import strategies as st
from realdata import FOLDER, needs_realdata

from workbench import formats, hashing, schema
from workbench.frames.lanes import in_spawn_order
from workbench.frames.messages import MESSAGES, message_rows, messages


def _pool(log, body):
    digest = hashing.digest_of(body)
    log.bodies[digest] = body
    return digest


def _texts(log):
    return [row["text"] for row in message_rows(log.events, log.bodies)]


@needs_realdata
def test_an_imported_run_has_every_message_of_its_source_in_its_place():
    path = FOLDER / "tau-bench/gpt-4o-airline.json"
    source = json.loads(path.read_bytes())
    context, pieces = formats.records("tau-bench", path.read_bytes())
    for record, piece in zip(source, pieces, strict=True):
        run = formats.imported(formats.trace("tau-bench", piece, context=context, path=path))

        rows = message_rows(run.events, run.bodies)

        assert [row["index"] for row in rows] == list(range(len(record["traj"])))
        assert [row["role"] for row in rows] == [m["role"] for m in record["traj"]]
        assert [row["text"] for row in rows] == [m["content"] or "" for m in record["traj"]]
        assert [row["tool"] for row in rows] == [m.get("name") for m in record["traj"]]
        calls = [[c["function"]["name"] for c in m.get("tool_calls") or []] for m in record["traj"]]
        assert [[c["name"] for c in row["tool_calls"]] for row in rows] == calls


def test_the_frame_has_the_documented_columns_also_when_it_is_empty():
    run = run_of("agentdojo", dojo([]))

    frame = messages(run.events, run.bodies)

    assert dict(frame.schema) == MESSAGES
    assert frame.height == 0


def test_a_row_names_the_event_that_holds_the_message():
    call = dojo_call("f", {"b": 1, "a": 2})
    said = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]
    run = run_of("agentdojo", dojo([*said, dojo_ask(call), dojo_answer("x", call, error="E")]))

    frame = messages(run.events, run.bodies)

    assert frame["seq"].to_list() == [1, 3, 5, 7]
    assert frame["error"].to_list() == [None, None, None, "E"]
    assert frame["tool_calls"].to_list()[2] == [{"name": "f", "arguments": '{"a":2,"b":1}'}]


def test_a_recorded_run_gives_its_input_and_then_outcomes_lane_by_lane():
    log = Log()
    question = {"role": "user", "content": "question"}
    digest = _pool(log, question)
    log.add("run_started", schema.RunStarted(input={"messages": [digest]}, pooled=True))
    first = log.start("model", "m", {"messages": [digest]}, lane="root/agent")
    asked = _pool(log, {"role": "assistant", "content": "let me look"})
    log.end(first, {"message": asked})
    slow = log.start("tool", "slow", {"arguments": {}}, lane="root/tools[0]")
    quick = log.start("tool", "quick", {"arguments": {}}, lane="root/tools[1]")
    log.end(quick, {"value": {"n": 1}})
    log.end(slow, {"message": _pool(log, {"role": "tool", "content": "slow answer"})})
    second = log.start("model", "m", {"messages": [digest, asked]}, lane="root/agent")
    log.end(second, {"message": _pool(log, {"role": "assistant", "content": "done"})})
    log.finish("done")

    rows = message_rows(log.events, log.bodies)

    assert [row["text"] for row in rows] == [
        *("question", "let me look", "done", "slow answer", '{"n":1}')
    ]
    assert [row["index"] for row in rows] == [0, 1, 2, 3, 4]
    assert [row["tool"] for row in rows] == [None, None, None, "slow", "quick"]


def test_input_that_is_written_out_counts_too():
    log = Log()
    log.begin({"messages": [{"role": "user", "content": "a"}, "no message"]})
    log.finish()

    assert _texts(log) == ["a"]


@pytest.mark.parametrize("given_", [None, "text", {"question": "a"}, [1, 2], {"messages": 3}])
def test_input_without_messages_gives_none(given_):
    log = Log()
    log.begin(given_)
    log.finish()

    assert _texts(log) == []


def test_a_tool_that_raised_is_a_message_with_its_error():
    log = Log()
    log.begin()
    call = log.start("tool", "f", {"arguments": {}})
    log.end(
        call, raised={"class": "builtins:ValueError", "message": "no", "args": []}, status="error"
    )
    model = log.start("model", "m", {"messages": []})
    log.end(model, raised={"class": "a:B", "message": "down", "args": []}, status="error")
    log.start("tool", "in flight", {"arguments": {}})

    [row] = message_rows(log.events, log.bodies)

    assert (row["role"], row["tool"], row["text"], row["error"]) == ("tool", "f", "", "no")


def test_a_body_that_is_missing_leaves_the_rest():
    run = run_of("agentdojo", dojo([{"role": "user", "content": c} for c in "ab"]))
    digest = next(iter(run.bodies))
    rest = {k: v for k, v in run.bodies.items() if k != digest}

    assert [row["index"] for row in message_rows(run.events, rest)] == [1]


_LANES = [
    "root",
    "root/a",
    "root/a/tools[0]",
    "root/a/tools[1]",
    "root/a/tools[10]",
    "root/b",
    "root/?2",
]


def _started(lanes):
    log = Log()
    return [log.start("tool", "f", {"arguments": {}}, lane=lane) for lane in lanes]


def test_lanes_come_in_the_order_in_which_they_were_spawned_depth_first():
    started = _started(
        ["root", "root/b", "root/a/tools[10]", "root/a/tools[1]", "root/b/x", "root/a", "root"]
    )

    assert [(e.lane, e.ordinal) for e in in_spawn_order(started)] == [
        ("root", 1),
        ("root", 2),
        ("root/b", 1),
        ("root/b/x", 1),
        ("root/a", 1),
        ("root/a/tools[1]", 1),
        ("root/a/tools[10]", 1),
    ]


@given(st.permutations([f"root/tools[{n}]" for n in range(6)]))
def test_numbered_siblings_never_depend_on_who_called_first(lanes):
    ordered = [e.lane for e in in_spawn_order(_started(lanes))]

    assert ordered == [f"root/tools[{n}]" for n in range(6)]


@given(st.lists(st.sampled_from(_LANES), max_size=30))
def test_sorting_keeps_every_call_and_the_order_inside_a_lane(lanes):
    started = _started(lanes)

    ordered = in_spawn_order(started)

    assert sorted(e.seq for e in ordered) == [e.seq for e in started]
    for lane in set(lanes):
        inside = [e.ordinal for e in ordered if e.lane == lane]
        assert inside == list(range(1, len(inside) + 1))


def test_the_frame_keeps_text_of_any_kind():
    run = run_of("agentdojo", dojo([{"role": "user", "content": "\u0000 é ⟨x⟩ </script>"}]))

    assert messages(run.events, run.bodies)["text"].to_list() == ["\u0000 é ⟨x⟩ </script>"]
    assert messages(run.events, run.bodies).schema["text"] == pl.String
