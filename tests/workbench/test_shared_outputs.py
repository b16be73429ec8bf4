"""What a root gives back holds its conversation again: it is written once, and read as it was."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph

import workbench as wb
from workbench import hashing
from workbench.diff import sides
from workbench.recording import read
from workbench.redaction import Rule
from workbench.redaction.events import rule_for_event
from workbench.redaction.parts import with_parts
from workbench.redaction.values import changed
from workbench.sharing import OutputFolding, OutputUnfolding, with_bodies


def said(text):
    body = {"role": "assistant", "content": text}
    return {"$type": "message", "$value": {"id": f"id of {text}", "body": body}}


texts = st.sampled_from("abc").map(said)
outputs = st.recursive(
    st.none() | st.integers(-9, 9) | texts,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.sampled_from("xy"), inner),
    max_leaves=20,
)
# of a step, or of the run itself
given_back = st.lists(st.tuples(st.booleans(), outputs), max_size=8)


@given(given_back, st.sets(st.sampled_from("abc")))
def test_whatever_is_folded_is_unfolded_to_what_it_was(listed, pooled):
    bodies = {
        hashing.digest_of(said(t)["$value"]["body"]): said(t)["$value"]["body"] for t in pooled
    }
    folding, unfolding = OutputFolding(is_pooled=bodies.__contains__), OutputUnfolding()
    for number, (is_step, output) in enumerate(listed):
        step_id = f"s{number}" if is_step else None
        stored = msgspec.json.decode(hashing.dumps(folding.fold(step_id, output)))
        whole = unfolding.whole(step_id, stored) if step_id else stored
        assert with_bodies(whole, lambda: bodies) == output


@pytest.mark.parametrize(
    "named",
    [{"step": "a"}, {"step": "b", "first": 1}, {"step": "a", "first": 3}, {"step": "a", "first": 0},
     {"step": "a", "first": "1"}, {"step": "a", "first": 1, "more": 1}, "a", None],
)  # fmt: skip
def test_what_names_nothing_that_is_known_stays_as_it_is(named):
    unfolding = OutputUnfolding()
    unfolding.whole("a", {"x": [1, 2]})
    odd = {"x": [{"$type": "earlier", "$value": named}, 3]}
    assert unfolding.whole("c", odd) == odd


def test_a_message_whose_body_is_not_there_stays_named():
    named = {"$type": "message", "$value": {"id": None, "digest": "0" * 64}}
    assert with_bodies([named], dict) == [named]


# ---- recorded


class Echo(BaseChatModel):
    """Answers with the number of the turn."""

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        text = f"answer {len(messages)} ".ljust(1000, ".")
        return ChatResult(generations=[ChatGeneration(message=AIMessage(text))])

    @property
    def _llm_type(self):
        return "echo"


def bot(*, remembers):
    graph = StateGraph(MessagesState)
    graph.add_node("answer", lambda state: {"messages": [Echo().invoke(state["messages"])]})
    graph.add_edge(START, "answer")
    if remembers:
        graph.add_edge("answer", END)
        return graph.compile(checkpointer=InMemorySaver())
    graph.add_conditional_edges("answer", lambda s: END if len(s["messages"]) > 20 else "answer")
    return graph.compile()


def chat(store, turns):
    """Talk in one thread, each turn a root of its own; return the run and what was given back."""
    thread, graph = {"configurable": {"thread_id": "t"}}, bot(remembers=True)
    with wb.record(store, name=f"{turns} turns") as run:
        gave = [
            graph.invoke({"messages": [("user", f"question {n} ".ljust(1000, "."))]}, thread)
            for n in range(turns)
        ]
    return run, gave


@pytest.fixture(params=["folders", "store"])
def place(request):
    return request.getfixturevalue(request.param)


def everything(run):
    return b"".join(bytes(e.payload) for e in run.event_log()) + hashing.dumps(run.bodies())


def test_a_conversation_in_a_thread_grows_with_its_messages_and_reads_as_it_was(place):
    runs = {turns: chat(place, turns) for turns in (10, 20, 40)}
    sizes = {turns: len(everything(run)) for turns, (run, _) in runs.items()}
    assert sizes[40] - sizes[20] < 2.1 * (sizes[20] - sizes[10])
    run, gave = runs[40]
    for number in range(1, 80, 2):
        assert everything(run).count(f"answer {number} ".encode()) == 1
    told = [run.output, *run.step_outputs().values()]
    contents = [[m["$value"]["body"]["content"] for m in one["messages"]] for one in told]
    assert contents == [[m.content for m in one["messages"]] for one in gave]
    ids = [[m["$value"]["id"] for m in one["messages"]] for one in told]
    assert ids == [[m.id for m in one["messages"]] for one in gave]


def test_an_output_whose_messages_are_named_is_replayed_and_compared_as_it_was(place):
    graph = bot(remembers=False)
    run = wb.record(place, graph, {"messages": [("user", "begin")]})
    stored = run.event_log()[-1]
    assert b'"digest"' in bytes(stored.payload)
    assert len(bytes(stored.payload)) < 5_000
    assert read(run.event_log(), run.bodies()).ended.output == run.output
    assert [m["$value"]["body"]["role"] for m in run.output["messages"]][:2] == [
        "user",
        "assistant",
    ]
    assert wb.replay(run, graph).identical
    other = wb.record(place, graph, {"messages": [("user", "begin")]})
    assert sides.side(run).output == sides.side(other).output
    assert sides.side(run).output["messages"][1]["$value"]["body"]["content"].startswith("answer")


# ---- redacted

DIGEST = "ab" * 32
NAMED = {"messages": [
    {"$type": "earlier", "$value": {"step": "ab12-3", "first": 2}},
    {"$type": "message", "$value": {"id": None, "digest": DIGEST}},
]}  # fmt: skip


def test_what_only_names_messages_is_no_text_to_a_rule():
    rules = [Rule(name="hex", pattern="[0-9a-f]{4}")]
    assert rule_for_event("step_ended", {"output": NAMED}, rules) is None
    assert changed(NAMED, lambda text: text.upper() if text != "messages" else text) == NAMED
    assert rule_for_event("step_ended", {"output": {"digest": DIGEST}}, rules) == "hex"
    secret = {"$type": "message", "$value": {"id": None, "digest": "abcd"}}
    assert rule_for_event("step_ended", {"output": secret}, rules) == "hex"


@pytest.mark.parametrize("event_type", ["step_ended", "run_ended"])
def test_a_message_that_has_another_digest_now_is_named_by_that(event_type):
    made = with_parts(
        event_type, {"output": NAMED}, part=lambda part: part, rename=lambda digest: digest[::-1]
    )
    assert made["output"]["messages"][1]["$value"]["digest"] == DIGEST[::-1]
