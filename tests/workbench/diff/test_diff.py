"""What a diff finds in small runs, section by section."""

import json
from itertools import chain
from pathlib import Path

import polars as pl
import pytest
from foreign import dojo, dojo_answer, dojo_ask, dojo_call, run_of, tau2, tau2_run, tau2_said
from handmade import Log
from hypothesis import given
from hypothesis import strategies as st
from realdata import Recorded

import workbench
from workbench import hashing
from workbench.diff import ALIGNED, DELTAS, align, diff
from workbench.store import read

_USER = {"role": "user", "content": "pay the bill"}


def _dojo(*messages, **facts):
    return Recorded(run_of("agentdojo", dojo([_USER, *messages], **facts)), run_id="x")


def _asked(name, arguments, answer, *, error=None, id_=None):
    call = dojo_call(name, arguments, id_)
    return [dojo_ask(call), dojo_answer(answer, call, error=error)]


def _say(text):
    return {"role": "assistant", "content": text, "tool_calls": None}


def _section(found, name):
    return found.deltas.filter(section=name).select("pointer", "change", "name", "a", "b").rows()


class Hand:
    """A recorded run made by hand."""

    run_id, name, source, labels = "hand", None, None, {}

    def __init__(self):
        self.log = Log()
        self.log.begin()

    def call(self, kind, name, request, outcome, *, lane="root", **columns):
        self.log.end(self.log.start(kind, name, request, lane=lane), outcome, **columns)
        return self

    def pool(self, body):
        digest = hashing.digest_of(body)
        self.log.bodies[digest] = body
        return digest

    def ended(self, output=None):
        self.log.finish(output)
        return self

    def event_log(self):
        return self.log.events

    def bodies(self):
        return self.log.bodies


def test_arguments_are_compared_one_by_one():
    a = _dojo(*_asked("send", {"to": "UK1", "amount": 98.7, "same": 1}, "sent"))
    b = _dojo(*_asked("send", {"to": "US2", "amount": 98.7, "same": 1.0, "new": None}, "sent"))

    found = diff(a, b)

    assert _section(found, "tools") == [
        ("/arguments/same", "changed", "send", "1", "1.0"),
        ("/arguments/to", "changed", "send", '"UK1"', '"US2"'),
        ("/arguments/new", "only_b", "send", None, "null"),
    ]
    assert found.first_action.as_dict() == {
        "k": 0,
        "message_a": 1,
        "message_b": 1,
        "a": "send",
        "b": "send",
        "kind": "args",
    }


def test_a_result_is_a_delta_and_upstream_of_another_outcome_it_is_observed():
    a = _dojo(*_asked("read", {}, "clean"), _say("done"), utility=True)
    b = _dojo(*_asked("read", {}, "poisoned"), _say("done"), utility=False)

    found = diff(a, b)

    assert found.first_divergence.kind == "tool_output"
    assert _section(found, "tools") == [("/result", "changed", "read", "clean", "poisoned")]
    assert _section(found, "outputs") == [
        ("/labels/utility", "changed", "utility", "true", "false")
    ]
    assert found.deltas.filter(section="tools")["attribution"].to_list() == ["observed"]


def test_without_another_outcome_nothing_is_attributed():
    found = diff(
        _dojo(*_asked("read", {}, "1"), _say("x")), _dojo(*_asked("read", {}, "2"), _say("x"))
    )

    assert found.deltas["attribution"].null_count() == found.deltas.height


def test_an_error_with_the_same_text_is_a_difference():
    a, b = _dojo(*_asked("f", {}, "x")), _dojo(*_asked("f", {}, "x", error="ValueError: no"))

    found = diff(a, b)

    assert _section(found, "tools") == [("/status", "changed", "f", "ok", "error")]
    assert found.first_divergence.kind == "tool_output"


def test_one_more_call_shifts_nothing():
    steps = [_asked("f", {"n": n}, f"answer {n}") for n in range(6)]
    extra = _asked("g", {}, "extra")
    a = _dojo(*chain(*steps))
    b = _dojo(*chain(*steps[:3], extra, *steps[3:]))

    found = diff(a, b)

    assert _section(found, "tools") == [("", "only_b", "g", None, "{}")]
    tools = found.aligned.filter(kind="tool")
    assert tools["match"].to_list() == [*["exact"] * 3, "only_b", *["exact"] * 3]
    assert tools["seq_a"].drop_nulls().is_sorted()


def test_ids_of_calls_are_no_difference():
    a = _dojo(*_asked("f", {}, "x", id_="call_1"), _say("done"))
    b = _dojo(*_asked("f", {}, "x", id_="call_2"), _say("done"))

    found = diff(a, b)

    assert found.first_divergence.kind == "equal"
    assert found.deltas.height == 0
    assert set(found.aligned["match"]) == {"exact", "normalised"}


def test_a_call_in_another_lane_has_moved():
    one, two = dojo_call("f", {}), dojo_call("g", {})
    together = [dojo_ask(one, two), dojo_answer("F", one), dojo_answer("G", two)]
    apart = [*_asked("f", {}, "F"), *_asked("g", {}, "G")]

    found = diff(_dojo(*together), _dojo(*apart))

    assert _section(found, "tools") == [
        ("/lane", "moved", "g", "root/tools[1]", "root/tools[0]"),
    ]


def test_a_user_text_that_differs_by_white_space_says_so():
    a = Recorded(run_of("agentdojo", dojo([{"role": "user", "content": "pay  it"}])), run_id="a")
    b = Recorded(run_of("agentdojo", dojo([{"role": "user", "content": "pay it\n"}])), run_id="b")

    found = diff(a, b)

    assert found.first_divergence.kind == "user_text"
    assert found.deltas["note"].to_list() == ["white space only"]
    assert "white space only" in found.summary()


@pytest.mark.parametrize(
    ("a", "b", "kind", "action"),
    [
        ([_say("x")], [], "length", None),
        ([_say("x")], [{"role": "user", "content": "x"}], "role", None),
        (
            [{"role": "system", "content": "x"}],
            [{"role": "system", "content": "y"}],
            "system_text",
            None,
        ),
        ([_say("x")], [_say("y")], "assistant_text", None),
        (_asked("f", {}, ""), [_say("")], "assistant_action", "missing"),
        (_asked("f", {}, ""), _asked("g", {}, ""), "assistant_action", "name"),
    ],
)
def test_the_kind_of_the_first_divergence(a, b, kind, action):
    found = diff(_dojo(*a), _dojo(*b))

    assert (found.first_divergence.message_a, found.first_divergence.kind) == (1, kind)
    assert (found.first_action and found.first_action.kind) == action


def test_a_side_that_has_ended_has_no_name_and_no_message():
    found = diff(_dojo(), _dojo(*_asked("f", {}, "")))

    assert found.first_action.as_dict() == {
        "k": 0,
        "message_a": None,
        "message_b": 1,
        "a": None,
        "b": "f",
        "kind": "missing",
    }


def test_a_user_who_acts_has_a_kind_of_their_own():
    def run(name):
        calls = [{"id": "1", "name": name, "arguments": {}, "requestor": "user"}]
        return Recorded(
            run_of("tau2", tau2(tau2_run(tau2_said("user", None, calls=calls)))), run_id=name
        )

    assert diff(run("f"), run("g")).first_divergence.kind == "user_action"


def test_sections_that_cannot_be_computed_say_why():
    found = diff(_dojo(), _dojo())

    assert found.missing == {
        "retrieval": "no retriever calls",
        "tools": "no tool calls",
        "model": "no model calls",
    }


def test_unknown_cost_is_named_and_never_0():
    def run(cost):
        said = tau2_said("assistant", "x", cost=cost, tokens=5)
        return Recorded(run_of("tau2", tau2(tau2_run(said))), run_id="r")

    found = diff(run(None), run(0.5))

    assert found.remarks["cost"] == "cost unknown in A"
    assert _section(found, "cost") == []
    assert "cost unknown in A" in found.summary()
    assert _section(diff(run(0.25), run(0.5)), "cost") == [
        ("/cost_usd", "changed", "cost_usd", "0.25", "0.5")
    ]


def _documents(*names):
    return {"documents": [{"page_content": f"text {n}", "metadata": {}, "id": n} for n in names]}


def test_documents_are_gained_lost_and_moved():
    a = Hand().call("retriever", "kb", {"query": "q"}, _documents("x", "y", "z")).ended()
    b = Hand().call("retriever", "kb", {"query": "q"}, _documents("y", "x", "w")).ended()

    found = diff(a, b)

    assert _section(found, "retrieval") == [
        ("/documents/0", "moved", "kb", "rank 1", "rank 2"),
        ("/documents/1", "moved", "kb", "rank 2", "rank 1"),
        ("/documents/2", "only_a", "kb", "text z", None),
        ("/documents/2", "only_b", "kb", None, "text w"),
    ]


def test_another_query_is_a_delta():
    a = Hand().call("retriever", "kb", {"query": "q"}, _documents("x")).ended()
    b = Hand().call("retriever", "kb", {"query": "r"}, _documents("x")).ended()

    assert _section(diff(a, b), "retrieval") == [("/query", "changed", "kb", "q", "r")]


def test_a_parameter_of_the_model_is_one_delta_however_many_calls_it_touches():
    def run(temperature):
        made = Hand()
        for text in ("one", "two"):
            said = made.pool({"role": "assistant", "content": text})
            request = {"messages": [], "params": {"temperature": temperature}, "n": text}
            made.call("model", "m", request, {"message": said})
        return made.ended()

    found = diff(run(0.0), run(0.5))

    assert _section(found, "model") == [("/params/temperature", "changed", "m", "0.0", "0.5")]
    assert found.deltas["note"].to_list() == ["in 2 calls"]


def test_a_prompt_that_only_the_model_was_shown_is_compared():
    def run(prompt):
        made = Hand()
        shown = made.pool({"role": "system", "content": prompt})
        said = made.pool({"role": "assistant", "content": "x"})
        return made.call("model", "m", {"messages": [shown]}, {"message": said}).ended()

    found = diff(run("be kind"), run("be brief"))

    assert _section(found, "prompts") == [
        ("/request/messages/0/content", "changed", "system", "be kind", "be brief")
    ]


def test_the_output_of_a_recorded_run_is_compared():
    found = diff(Hand().ended({"refund": 10}), Hand().ended({"refund": 99}))

    assert _section(found, "outputs") == [
        ("/output", "changed", "output", '{"refund":10}', '{"refund":99}')
    ]
    assert found.differs


def test_calls_still_open_are_compared_too():
    open_run = Hand()
    open_run.log.start("tool", "f", {"arguments": {}})
    whole = Hand().call("tool", "f", {"arguments": {}}, {"value": "x"})

    found = diff(open_run, whole)

    assert _section(found, "tools") == [("/result", "only_b", "f", None, "x")]


def test_a_poll_with_other_answers_is_paired_in_order():
    a, b = Hand(), Hand()
    for n in range(3):
        a.call("tool", "poll", {"arguments": {}}, {"value": f"a{n}"})
        b.call("tool", "poll", {"arguments": {}}, {"value": f"b{n}"})

    rows = _section(diff(a, b), "tools")

    assert rows == [("/result", "changed", "poll", f"a{n}", f"b{n}") for n in range(3)]


def test_frames_have_the_documented_columns_also_when_they_are_empty():
    found = diff(Hand(), Hand())

    assert dict(found.deltas.schema) == DELTAS
    assert dict(found.aligned.schema) == ALIGNED
    assert found.aligned.height == 0


def test_wb_diff_is_the_function_whatever_was_imported_before():
    assert workbench.diff is diff
    assert isinstance(workbench.diff(Hand(), Hand()).deltas, pl.DataFrame)


def test_what_a_retriever_found_leads_although_no_message_shows_it():
    def run(*names):
        made = Hand().call("retriever", "kb", {"query": "q"}, _documents(*names))
        said = made.pool({"role": "assistant", "content": f"found {names}"})
        return made.call("model", "m", {"messages": []}, {"message": said}).ended()

    found = diff(run("x"), run("poisoned"))

    assert (found.first_call.a.name, found.first_call.match) == ("kb", "request")
    assert found.summary().startswith("First divergence: what kb gave back to the same request")
    assert "text poisoned" in found.to_html()
    assert found.deltas.filter(section="retrieval")["attribution"].unique().to_list() == [
        "observed"
    ]


def test_recorded_lanes_do_not_hide_what_came_first():
    def run(result):
        made = Hand()
        for n, text in enumerate(("I look", f"result {result}")):
            said = made.pool({"role": "assistant", "content": text})
            made.call("model", "m", {"messages": [], "n": n}, {"message": said}, lane="root/agent")
            if n == 0:
                made.call("tool", "f", {"arguments": {}}, {"value": result}, lane="root/tools")
        return made.ended()

    found = diff(run("good"), run("bad"))

    assert found.first_divergence.kind == "assistant_text"
    assert found.summary().startswith("First divergence: what f gave back to the same request")


def test_the_first_call_is_the_cause_in_the_bundled_incidents_of_retrieval():
    folder = Path(__file__).parents[3] / "datasets"
    store = read(folder)
    incidents = json.loads((folder / "causes.json").read_text())["incidents"]
    causes = [i for i in incidents if i["cause"] in ("poisoned_document", "retrieval_regression")]
    assert causes

    for cause in causes:
        found = diff(store.run(cause["baseline"]), store.run(cause["run_id"]))

        assert (found.first_call.b.name, found.first_call.b.seq) == (cause["call"], cause["seq"])


_KEYS = st.lists(st.integers(0, 3), max_size=12)


@given(_KEYS, _KEYS)
def test_pairing_keeps_every_item_once_and_in_order(a, b):
    left, right = list(enumerate(a)), list(enumerate(b))

    pairs = align.paired(left, right, rounds=(lambda item: item[1], lambda _item: 0))

    assert [one for one, _ in pairs if one is not None] == left
    assert [other for _, other in pairs if other is not None] == right


@given(_KEYS)
def test_pairing_a_list_with_itself_pairs_each_with_itself(a):
    items = list(enumerate(a))

    pairs = align.paired(items, items, rounds=(lambda item: item[1],))

    assert all(one == other for one, other in pairs)


@given(_KEYS, _KEYS)
def test_sequences_too_long_to_search_keep_their_equal_ends(a, b):
    pairs = align._equal_ends(a, b)

    assert all(a[i] == b[j] for i, j in pairs)
    assert pairs == sorted(set(pairs))
