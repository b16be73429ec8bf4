"""The traps that were seen in recorded data, each in a file of a few lines."""

import json
from pathlib import PurePath

import orjson
import pytest
from foreign import (
    DOJO_PATH,
    dojo,
    dojo_answer,
    dojo_ask,
    dojo_call,
    run_of,
    runs_of,
    tau2,
    tau2_answer,
    tau2_call,
    tau2_run,
    tau2_said,
    tau_bench,
    tau_bench_run,
    traces_of,
)

from workbench.formats import counts, values
from workbench.frames.messages import message_rows
from workbench.hashing import dumps


def _tool_pairs(run):
    """Return (tool, arguments, answer) of every tool call, the answer null where there is none."""
    ended = {
        e.step_id: orjson.loads(bytes(e.payload))
        for e in run.events
        if e.event_type == "call_ended"
    }
    found = []
    for event in run.events:
        if event.event_type == "call_started" and event.kind == "tool":
            asked = orjson.loads(bytes(event.payload))["request"]["arguments"]
            end = ended.get(event.step_id)
            body = run.bodies[end["outcome"]["message"]] if end else None
            found.append((event.name, asked, body and body["content"]))
    return found


def _texts(run):
    return [row["text"] for row in message_rows(run.events, run.bodies)]


# 1. ids are not keys


@pytest.mark.parametrize("id_", [None, "", "same"])
def test_answers_with_empty_or_repeated_ids_belong_to_calls_by_order(id_):
    first, second = dojo_call("get", {"n": 1}, id_), dojo_call("get", {"n": 2}, id_)
    messages = [dojo_ask(first, second), dojo_answer("one", first), dojo_answer("two", second)]

    run = run_of("agentdojo", dojo(messages))

    assert _tool_pairs(run) == [("get", {"n": 1}, "one"), ("get", {"n": 2}, "two")]


def test_an_id_used_again_in_a_later_step_belongs_to_that_step():
    messages = []
    for n in (1, 2):
        call = dojo_call("get", {"n": n}, "again")
        messages += [dojo_ask(call), dojo_answer(f"answer {n}", call)]

    run = run_of("agentdojo", dojo(messages))

    assert _tool_pairs(run) == [("get", {"n": 1}, "answer 1"), ("get", {"n": 2}, "answer 2")]


def test_answers_in_another_order_than_the_calls_are_paired_by_their_ids():
    first, second = dojo_call("get", {"n": 1}, "a"), dojo_call("get", {"n": 2}, "b")
    messages = [dojo_ask(first, second), dojo_answer("two", second), dojo_answer("one", first)]

    run = run_of("agentdojo", dojo(messages))

    assert _tool_pairs(run) == [("get", {"n": 1}, "one"), ("get", {"n": 2}, "two")]


def test_a_call_in_the_middle_without_an_answer_takes_nobody_elses():
    calls = [dojo_call(name, {}) for name in ("f", "g", "h")]
    messages = [dojo_ask(*calls), dojo_answer("F", calls[0]), dojo_answer("H", calls[2])]

    run = run_of("agentdojo", dojo(messages))

    assert _tool_pairs(run) == [("f", {}, "F"), ("g", {}, None), ("h", {}, "H")]


# 2. more calls than answers, runs with no messages


def test_a_call_without_an_answer_stays_open_and_is_counted():
    data = dojo([dojo_ask(dojo_call("get", {}))])

    [trace] = traces_of("agentdojo", data)
    run = run_of("agentdojo", data)

    assert counts(trace).tool_calls == 1
    assert [e.event_type for e in run.events if e.kind == "tool"] == ["call_started"]


def test_an_answer_without_a_call_is_a_tool_call_named_by_the_source():
    messages = [dojo_answer("out of nowhere", dojo_call("get", {"n": 1}, "x"))]

    run = run_of("agentdojo", dojo(messages))

    assert _tool_pairs(run) == [("get", {"n": 1}, "out of nowhere")]
    assert run.counts.tool_calls == 0


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("agentdojo", dojo([], error="prompt too long", utility=None)),
        ("tau-bench", tau_bench(tau_bench_run(error="boom"))),
        ("tau2", tau2(tau2_run())),
    ],
)
def test_a_run_with_no_messages_is_kept(name, data):
    run = run_of(name, data)

    assert run.counts.messages == 0
    assert run.events[0].event_type == "run_started"
    assert run.events[-1].event_type == "run_ended"
    assert run.events[-1].status == ("done" if name == "tau2" else "failed")
    assert message_rows(run.events, run.bodies) == []


# 3. a run's own label can lie


def test_the_pipeline_is_the_folders_name_and_the_files_own_is_kept_beside_it():
    [trace] = traces_of("agentdojo", dojo([]))

    assert trace.labels["pipeline"] == "some-pipeline"
    assert trace.labels["pipeline_name"] == "local"
    assert trace.key == "some-pipeline/banking/user_task_0/none/none.json"


def test_a_file_outside_of_such_folders_has_only_its_own_word_for_the_pipeline():
    [trace] = traces_of("agentdojo", dojo([]), path=PurePath("/tmp/x.json"))

    assert trace.labels["pipeline"] == "local"


# 4. costs


def _tau2_costs(*messages, **options):
    run = run_of("tau2", tau2(tau2_run(*messages), **options))
    known = [e.cost_usd for e in run.events if e.event_type == "call_ended" and e.kind != "tool"]
    return known, run.counts.cost_unknown


def test_a_cost_of_null_is_unknown():
    said = tau2_said("assistant", "hi", cost=None, tokens=10)

    assert _tau2_costs(said) == ([None], True)


def test_a_cost_of_0_although_tokens_were_used_is_unknown():
    said = [
        tau2_said("user", "a", cost=0.25, tokens=10),
        tau2_said("assistant", "b", cost=0.0, tokens=9),
    ]

    assert _tau2_costs(*said) == ([0.25, None], True)


@pytest.mark.parametrize(
    "declared",
    [
        {"agent": "ollama_chat/qwen2.5:7b"},
        {"agent": "openai/qwen", "llm_args": {"api_base": "http://localhost:8000/v1"}},
    ],
)
def test_a_cost_of_0_of_a_local_provider_is_0(declared):
    said = [
        tau2_said("user", "a", cost=0.25, tokens=10),
        tau2_said("assistant", "b", cost=0.0, tokens=9),
    ]

    assert _tau2_costs(*said, **declared) == ([0.25, 0.0], False)


def test_a_run_of_a_local_model_says_so_in_the_label_that_the_server_reads():
    said = tau2_said("assistant", "b", cost=0.0, tokens=9)

    [local] = traces_of("tau2", tau2(tau2_run(said), agent="ollama/x"))
    [remote] = traces_of("tau2", tau2(tau2_run(said)))

    assert local.labels["cost_local"] is True
    assert "cost_local" not in remote.labels


def test_a_simulated_user_that_is_not_local_stays_unknown_beside_a_local_agent():
    said = [
        tau2_said("user", "a", cost=0.0, tokens=10),
        tau2_said("assistant", "b", cost=0.0, tokens=9),
    ]

    assert _tau2_costs(*said, agent="ollama/x") == ([None, 0.0], True)


def test_a_greeting_without_usage_at_0_is_honest_and_no_call():
    messages = [tau2_said("assistant", "Hi!", cost=0.0), tau2_said("user", "a", cost=0.5, tokens=3)]

    run = run_of("tau2", tau2(tau2_run(*messages)))

    assert [e.event_type for e in run.events] == [
        *("run_started", "annotated", "call_started", "call_ended"),
        *("annotated", "run_ended"),
    ]
    assert run.counts.cost_unknown is False
    assert _texts(run) == ["Hi!", "a"]


def test_the_user_cost_of_tau_bench_is_no_dollars():
    said = {"role": "user", "content": "hi"}

    run = run_of("tau-bench", tau_bench(tau_bench_run(traj=[said], user_cost=0.5)))

    assert run.counts.cost_unknown is True
    assert [e.cost_usd for e in run.events] == [None] * len(run.events)
    assert run.header.labels["user_cost"] == 0.5


# 5. zero runs


@pytest.mark.parametrize(("name", "data"), [("tau-bench", b"[]"), ("tau2", tau2())])
def test_a_file_with_zero_runs_is_valid(name, data):
    assert runs_of(name, data) == []


# 6. a running total can miss the last call


def test_the_cost_is_the_sum_of_the_messages_and_not_the_files_total():
    said = [
        tau2_said("assistant", "a", cost=0.5, tokens=1),
        tau2_said("assistant", "b", cost=0.25, tokens=1),
    ]

    run = run_of("tau2", tau2(tau2_run(*said, agent_cost=0.5)))

    assert sum(e.cost_usd or 0 for e in run.events) == 0.75
    assert run.header.labels["agent_cost"] == 0.5


# 7. text and arguments in several shapes


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, ""),
        ("a", "a"),
        ([{"type": "text", "content": "a"}, {"type": "text", "content": "b"}], "ab"),
        ([{"type": "text", "text": "a"}, "b"], "ab"),
        ([{"type": "image"}], ""),
    ],
)
def test_a_text_is_null_a_string_or_a_list_of_blocks(content, text):
    run = run_of("agentdojo", dojo([{"role": "user", "content": content}]))

    assert _texts(run) == [text]


@pytest.mark.parametrize(
    ("arguments", "canonical"),
    [
        ('{"b": 1, "a": 1.0}', '{"a":1.0,"b":1}'),
        ({"b": 1, "a": 1.0}, '{"a":1.0,"b":1}'),
        ('{"b": ', '"{\\"b\\": "'),
        ("", '""'),
        (None, "null"),
    ],
)
def test_arguments_are_a_json_string_or_an_object(arguments, canonical):
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": arguments}}
    traj = [{"role": "assistant", "content": None, "tool_calls": [call]}]

    run = run_of("tau-bench", tau_bench(tau_bench_run(traj=traj)))

    [row] = message_rows(run.events, run.bodies)
    assert row["tool_calls"] == [{"name": "f", "arguments": canonical}]


# 8. white space


def test_white_space_is_kept_as_it_is():
    texts = ["pay  the bill", "pay the bill ", "pay\nthe bill"]

    runs = [run_of("agentdojo", dojo([{"role": "user", "content": text}])) for text in texts]

    assert [_texts(run) for run in runs] == [[text] for text in texts]


# 9. what looks like a secret


def test_account_numbers_model_names_and_guids_come_through_unchanged():
    text = (
        "UK12345678901234567890 Mask-RCNN-Object_Detection sk-learn "
        "0c18a52c-7414-41fb-afa9-42a2a3678743 4111111111111112"
    )

    run = run_of("agentdojo", dojo([{"role": "user", "content": text}]))

    assert _texts(run) == [text]


# 10. is a diff's: tests/workbench/diff


# a user who calls tools


def test_a_simulated_user_calls_tools_in_lanes_of_their_own():
    messages = [
        tau2_said(
            "user", None, calls=[tau2_call("toggle", {}, requestor="user")], cost=0.1, tokens=1
        ),
        tau2_answer("on", requestor="user"),
    ]

    run = run_of("tau2", tau2(tau2_run(*messages)))

    assert run.counts.tool_calls == 1
    assert _tool_pairs(run) == [("toggle", {}, "on")]
    assert [e.lane for e in run.events if e.kind == "tool"] == ["root/user_tools[0]"] * 2


# values that JSON readers disagree about


def test_half_a_surrogate_is_kept_as_its_escape():
    data = dojo([{"role": "user", "content": "half"}]).replace(b"half", b"\\ud83d")

    assert _texts(run_of("agentdojo", data)) == ["\\ud83d"]


def test_half_a_surrogate_in_one_record_leaves_the_others_their_bytes():
    records = [tau_bench_run(trial=n, traj=[{"role": "user", "content": f"n{n}"}]) for n in (0, 1)]
    data = tau_bench(*records).replace(b"n0", b"\\ud83d")

    first, second = runs_of("tau-bench", data)

    assert (_texts(first), _texts(second)) == (["\\ud83d"], ["n1"])


@pytest.mark.parametrize("number", [2**64, -(2**70), 1, 1.0, 1e300])
def test_numbers_of_any_size_stay_different(number):
    call = dojo_call("f", {"n": number})

    run = run_of("agentdojo", dojo([dojo_ask(call)]))

    [row] = message_rows(run.events, run.bodies)
    other = run_of("agentdojo", dojo([dojo_ask(dojo_call("f", {"n": 7}))]))
    [other_row] = message_rows(other.events, other.bodies)
    assert row["tool_calls"] != other_row["tool_calls"]
    if number in (1, 1.0):
        assert row["tool_calls"][0]["arguments"] == json.dumps({"n": number}, separators=(",", ":"))


def test_tau2_messages_carry_times_and_tokens():
    messages = [
        tau2_said("user", "a", cost=0.1, tokens=5, at="2025-07-17T15:11:00"),
        tau2_said("assistant", "b", cost=0.2, tokens=7, at="2025-07-17T15:11:01.500000"),
    ]

    run = run_of("tau2", tau2(tau2_run(*messages)))

    ended = [e for e in run.events if e.event_type == "call_ended"]
    assert [e.duration_ms for e in ended] == [2000.0, 1500.0]
    assert [(e.input_tokens, e.output_tokens) for e in ended] == [(5, 1), (7, 1)]
    assert ended[1].started_at.isoformat() == "2025-07-17T15:11:01.500000+00:00"
    assert run.events[-1].duration_ms == 7500.0


def test_sources_without_times_have_none():
    run = run_of("agentdojo", dojo([{"role": "user", "content": "a"}]))

    assert [e.started_at for e in run.events] == [None] * len(run.events)
    assert run.events[-1].duration_ms == 2500.0


def test_errors_are_counted_where_the_source_marks_them():
    call = dojo_call("get", {})
    marked = run_of(
        "agentdojo", dojo([dojo_ask(call), dojo_answer("", call, error="ValueError: no")])
    )
    simulated = run_of(
        "tau2",
        tau2(
            tau2_run(
                tau2_said("assistant", None, calls=[tau2_call("f", {})]),
                tau2_answer("Error: x", error=True),
            )
        ),
    )
    unmarked = run_of("tau-bench", tau_bench(tau_bench_run()))

    assert (marked.counts.tool_errors, simulated.counts.tool_errors) == (1, 1)
    assert unmarked.counts.tool_errors is None
    ended = next(e for e in marked.events if e.event_type == "call_ended" and e.kind == "tool")
    assert ended.status == "error"
    assert orjson.loads(bytes(ended.payload))["exception"] == {
        "class": "builtins:ValueError",
        "message": "no",
        "args": ["no"],
    }


def test_a_path_of_four_parts_is_a_key_of_four_parts():
    [trace] = traces_of("agentdojo", dojo([]), path=PurePath(*DOJO_PATH.parts[-4:]))

    assert trace.key.endswith("banking/user_task_0/none/none.json")


@pytest.mark.parametrize(
    "text",
    [
        '{"n": 123456789012345678901234567890}',
        '{"n":-123456789012345678901234567890}',
        '{"n":\n\t123456789012345678901234567890 }',
        "[1,123456789012345678901234567890]",
        "[ -123456789012345678901234567890]",
        "123456789012345678901234567890",
        " -123456789012345678901234567890",
    ],
)
def test_a_number_beyond_64_bits_is_tagged_wherever_it_stands(text):
    assert b'"$type":"int"' in dumps(values.decode(text.encode()))


def test_digits_within_a_text_are_text():
    read = values.decode(b'{"iban": "DE89370400440532013000", "n": 1}')

    assert read == {"iban": "DE89370400440532013000", "n": 1}
