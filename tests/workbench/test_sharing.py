"""What requests share is written once, and read as it was asked."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatResult

import workbench as wb
from workbench import hashing, sharing
from workbench.recording import read
from workbench.sharing import Folding, Unfolding

TOOLS = [{"name": "look_up"}]
conversations = st.lists(
    st.tuples(
        st.sampled_from(["root/a", "root/b", "root/c"]),
        st.lists(st.sampled_from("abcd"), max_size=6),
        st.sampled_from([None, TOOLS, [{"name": "other"}]]),
    ),
    max_size=12,
)


def asked(messages, tools):
    request = {"messages": list(messages), "model": "m"}
    return request if tools is None else {**request, "tools": tools}


@given(conversations)
def test_whatever_is_folded_is_unfolded_to_what_it_was(said):
    folding, unfolding = Folding(), Unfolding()
    for number, (lane, messages, tools) in enumerate(said):
        request = asked(messages, tools)
        stored = msgspec.json.decode(hashing.dumps(folding.fold(lane, f"s{number}", request)))
        assert unfolding.whole(f"s{number}", stored) == request


def test_a_request_without_the_one_it_names_is_told_from_any_that_was_asked():
    folding = Folding()
    folding.fold("root", "a", asked("xyz", TOOLS))
    stored = folding.fold("root", "b", asked("xyzw", TOOLS))
    found = Unfolding().whole("b", stored)
    assert found["messages"] == ["missing: the first 3 messages of call a", "w"]
    assert found["tools"] == ["missing: the tools of call a"]


@pytest.mark.parametrize(
    "said",
    [{"call": "a"}, {"call": 1, "first": 1}, {"call": "a", "first": 0}, {"call": "a", "first": True},
     {"call": "a", "first": 1, "more": 1}, "a", None],
)  # fmt: skip
def test_a_reference_has_one_form(said):
    assert not sharing.beginning_is_sound(said)


class Echo(BaseChatModel):
    """Answers with the number of the turn."""

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        text = f"answer {len(messages)} ".ljust(1000, ".")
        return ChatResult(generations=[ChatGeneration(message=AIMessage(text))])

    @property
    def _llm_type(self):
        return "echo"


@wb.root
def chat(turns):
    model, said = Echo(), []
    for turn in range(turns):
        said.append(HumanMessage(f"question {turn} ".ljust(1000, ".")))
        said.append(model.invoke(said))
    return len(said)


def stored_bytes(run):
    return sum(len(event.payload) for event in run.event_log())


@pytest.fixture(params=["folders", "store"])
def place(request):
    return request.getfixturevalue(request.param)


def test_a_conversation_grows_with_its_messages_and_reads_as_it_was(place):
    runs = {}
    for turns in (10, 20, 40):
        with wb.record(place, name=f"{turns} turns") as run:
            chat(turns)
        runs[turns] = run
    sizes = {turns: stored_bytes(run) for turns, run in runs.items()}
    assert (sizes[40] - sizes[20]) < 2.2 * (sizes[20] - sizes[10])
    run = runs[40]
    recording = read(run.event_log(), run.bodies())
    assert recording.problems == ()
    assert [len(call.request["messages"]) for call in recording.calls] == [*range(1, 81, 2)]
    in_frame = [msgspec.json.decode(text)["messages"] for text in run.calls["request"]]
    assert in_frame == [call.request["messages"] for call in recording.calls]
    assert wb.replay(run, chat).identical


def test_a_lost_call_is_missed_and_not_those_that_begin_like_it(folders):
    with wb.record(folders) as run:
        chat(3)
    lost = run.calls["step_id"][1]
    recording = read([e for e in run.event_log() if e.step_id != lost], run.bodies())
    assert [problem.reason for problem in recording.problems] == []
    assert [call.ordinal for call in recording.calls] == [1, 3]
    assert sharing.lacks_beginning(recording.calls[1].request)
    assert recording.calls[1].signature == run.calls["signature"][2]
